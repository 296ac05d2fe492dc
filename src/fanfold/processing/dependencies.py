"""The one fan-out service, injected: a test replaces it with `app.dependency_overrides[get_fan_out]`."""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from starlette.datastructures import State

from fanfold.fanout.service import FanOut
from fanfold.idempotency.service import KeptAnswers
from fanfold.processing.selection import AddressPolicy
from fanfold.processing.service import ProcessingService
from fanfold.usage.ledger import Ledger


async def get_fan_out(request: HTTPConnection) -> FanOut:
    """Return the process's engine."""
    fan_out: FanOut = request.app.state.fan_out
    return fan_out


async def get_ledger(request: HTTPConnection) -> Ledger:
    """Return the process's ledger."""
    ledger: Ledger = request.app.state.ledger
    return ledger


FanOutDep = Annotated[FanOut, Depends(get_fan_out)]
LedgerDep = Annotated[Ledger, Depends(get_ledger)]


async def _kept_answers(request: HTTPConnection) -> KeptAnswers:
    return KeptAnswers(request.app.state.database, request.app.state.key_ring)


KeptAnswersDep = Annotated[KeptAnswers, Depends(_kept_answers)]


def processing_service(
    state: State,
    *,
    fan_out: FanOut | None = None,
    ledger: Ledger | None = None,
    answers: KeptAnswers | None = None,
) -> ProcessingService:
    """Return the service of an application's state, with what is given instead of the state's own."""
    return ProcessingService(
        fan_out=fan_out or state.fan_out,
        ledger=ledger or state.ledger,
        answers=answers or KeptAnswers(state.database, state.key_ring),
        upstreams=state.upstream_directory,
        addresses=AddressPolicy(state.address_guard, state.settings.fan_out.adhoc_upstreams),
        background=state.background,
        count_calls=state.count_calls,
    )


async def _service(
    request: HTTPConnection, fan_out: FanOutDep, ledger: LedgerDep, answers: KeptAnswersDep
) -> ProcessingService:
    return processing_service(request.app.state, fan_out=fan_out, ledger=ledger, answers=answers)


ProcessingServiceDep = Annotated[ProcessingService, Depends(_service)]
