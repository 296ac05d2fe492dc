"""The tutorials' paths: thin, the same services, the same authentication."""

from fastapi import APIRouter, Request, Response

import fanfold
from fanfold.auth.dependencies import CurrentQuota, CurrentTenant
from fanfold.core.requests import StrictRoute
from fanfold.core.schemas import problem_responses
from fanfold.idempotency.header import IdempotencyKeyHeader
from fanfold.processing.dependencies import KeptAnswersDep, ProcessingServiceDep
from fanfold.processing.router import ProcessPrincipal, process
from fanfold.processing.schemas import ProcessAnswer, TutorialRequest

router = APIRouter(tags=["Tutorial aliases"], route_class=StrictRoute)


@router.get("/")
async def root() -> dict[str, object]:
    """Say what this is and where to go on."""
    links = {name: f"/{name}" for name in ("docs", "redoc", "openapi.json", "healthz", "readyz")}
    return {"name": "fanfold", "version": fanfold.__version__, "links": links}


@router.get("/ping")
async def ping() -> dict[str, str]:
    """Answer pong."""
    return {"message": "pong"}


@router.post(
    "/process/",
    responses={
        200: {"model": ProcessAnswer},
        **problem_responses(400, 401, 402, 403, 409, 413, 415, 422, 429, 503),
    },
)
async def process_tutorial(  # noqa: PLR0913, PLR0917 (what it depends on)
    body: TutorialRequest,
    request: Request,
    principal: ProcessPrincipal,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    processing: ProcessingServiceDep,
    answers: KeptAnswersDep,
    key: IdempotencyKeyHeader = None,
) -> Response:
    """Process a text of at least 10 characters; otherwise as `POST /v1/process`."""
    return await process(body, request, principal, tenant, quota, processing, answers, key)
