"""What the routes of jobs ask for."""

from typing import Annotated

from fastapi import Depends, Request

from fanfold.auth.dependencies import DatabaseDep
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.jobs.answers import JobAnswers
from fanfold.jobs.events import JobEvents
from fanfold.jobs.steering import JobSteering

JobsPrincipal = Annotated[Principal, Require(Scope.JOBS)]


async def _answers(request: Request, database: DatabaseDep) -> JobAnswers:
    state = request.app.state
    return JobAnswers(database, state.key_ring, state.offload)


JobAnswersDep = Annotated[JobAnswers, Depends(_answers)]


async def _steering(request: Request, database: DatabaseDep) -> JobSteering:
    return JobSteering(database, request.app.state.job_lane, request.app.state.key_ring)


JobSteeringDep = Annotated[JobSteering, Depends(_steering)]


async def _events(request: Request, database: DatabaseDep, answers: JobAnswersDep) -> JobEvents:
    state = request.app.state
    return JobEvents(database, answers, state.job_watch, state.drain)


JobEventsDep = Annotated[JobEvents, Depends(_events)]
