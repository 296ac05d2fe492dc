"""The tutorials' paths: thin, the same services, the same authentication."""

from fastapi import Response

import fanfold
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.processing.answering import AnsweringDep
from fanfold.processing.event_schemas import ANSWER_OR_STREAM
from fanfold.processing.schemas import TutorialRequest

_ANSWERS = {**ANSWER_OR_STREAM, **problem_responses(400, 401, 402, 403, 409, 413, 415, 422, 429, 503)}

router = Router(tags=["Tutorial aliases"], route_class=StrictRoute)


@router.get("/")
async def root() -> dict[str, object]:
    """Say what this is and where to go on."""
    links = {name: f"/{name}" for name in ("docs", "redoc", "openapi.json", "healthz", "readyz")}
    return {"name": "fanfold", "version": fanfold.__version__, "links": links}


@router.get("/ping")
async def ping() -> dict[str, str]:
    """Answer pong."""
    return {"message": "pong"}


@router.post("/process/", responses=_ANSWERS)
async def process_tutorial(body: TutorialRequest, answering: AnsweringDep) -> Response:
    """Process a text of at least 10 characters; otherwise as `POST /v1/process`."""
    return await answering.answer(body)


@router.post("/stream/", responses=_ANSWERS)
async def stream_tutorial(body: TutorialRequest, answering: AnsweringDep) -> Response:
    """Process a text of at least 10 characters as an event stream, unless `stream` is false."""
    return await answering.answer(body, usually_streams=True)
