"""`/v1/process`."""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Annotated

from fastapi import APIRouter, Request, Response

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, DatabaseDep
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.disconnect import ClientLeft, cancelled_when_client_leaves
from fanfold.core.piecewise import PiecewiseResponse
from fanfold.core.requests import StrictRoute
from fanfold.core.schemas import problem_responses
from fanfold.idempotency.header import IdempotencyKeyHeader
from fanfold.processing.dependencies import KeptAnswersDep, ProcessingServiceDep
from fanfold.processing.encoding import encode_answer, encode_quote
from fanfold.processing.replay import keyed_process, replayed
from fanfold.processing.schemas import OnDisconnect, ProcessAnswer, ProcessRequest, QuoteAnswer
from fanfold.usage.quota_repository import QuotaRepository
from fanfold.usage.types import Warnings

ProcessPrincipal = Annotated[Principal, Require(Scope.PROCESS)]

CLIENT_LEFT_STATUS = 499
MEDIA_TYPE = "application/json"

router = APIRouter(
    prefix="/v1/process",
    tags=["Processing"],
    route_class=StrictRoute,
    responses=problem_responses(400, 401, 403, 413, 415, 422, 429, 503),
)


@router.post("", responses={200: {"model": ProcessAnswer}, **problem_responses(402, 409)})
async def process(  # noqa: PLR0913, PLR0917 (what it depends on)
    body: ProcessRequest,
    request: Request,
    principal: ProcessPrincipal,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    processing: ProcessingServiceDep,
    answers: KeptAnswersDep,
    key: IdempotencyKeyHeader = None,
) -> Response:
    """Split the text, ask the upstreams at once, fold their answers into one. Failed chunks are data, not errors."""
    try:
        async with _attended(request, body):
            keyed = await keyed_process(request, tenant, body, key)
            if keyed and (kept := await answers.look_up(keyed)):
                return await replayed(answers, keyed, kept, body, media_type=MEDIA_TYPE)
            admission = await processing.admit(principal, tenant, quota, body, keyed)
            processed = await processing.execute(admission)
            return PiecewiseResponse(
                await encode_answer(processed),
                media_type=MEDIA_TYPE,
                headers=warning_headers(processed.billed.settled.warnings),
            )
    except ClientLeft:
        return Response(status_code=CLIENT_LEFT_STATUS)


def warning_headers(warnings: Warnings) -> dict[str, str]:
    """Return `Quota-Warning` where 80 or 100 percent are used: a List of Strings with `p` in percent (RFC 9651)."""
    levels = {"quota": warnings.quota, "budget": warnings.budget}
    items = [f'"{name}";p={level}' for name, level in levels.items() if level]
    return {"Quota-Warning": ", ".join(items)} if items else {}


def _attended(request: Request, body: ProcessRequest) -> AbstractAsyncContextManager[None]:
    # What goes on is still this very request, so that limits of concurrent requests count it to its end.
    return (
        nullcontext()
        if body.on_disconnect is OnDisconnect.CONTINUE
        else cancelled_when_client_leaves(request)
    )


@router.post("/quote", responses={200: {"model": QuoteAnswer}})
async def quote(
    body: ProcessRequest,
    principal: ProcessPrincipal,
    tenant: CurrentTenant,
    quota: CurrentQuota,
    processing: ProcessingServiceDep,
    database: DatabaseDep,
) -> Response:
    """Say how the text would be cut and what it would cost at most. Calls nothing, bills nothing."""
    plan, _ = await processing.plan(tenant, body)
    async with database.session(tenant.id) as session:
        remaining = await QuotaRepository(session, tenant.id).free(principal.api_key_id, quota.period_start)
    return Response(await encode_quote(plan, remaining), media_type=MEDIA_TYPE)
