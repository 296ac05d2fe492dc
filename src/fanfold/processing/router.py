"""`/v1/process`."""

from fastapi import Request, Response

from fanfold.auth.dependencies import CurrentQuota, CurrentTenant, DatabaseDep
from fanfold.core.direct import Direct
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.processing.answering import JSON, AnsweringDep, ProcessPrincipal, answering_directly
from fanfold.processing.dependencies import ProcessingServiceDep
from fanfold.processing.encoding import encode_quote
from fanfold.processing.event_schemas import ANSWER_OR_STREAM
from fanfold.processing.schemas import ProcessRequest, QuoteAnswer
from fanfold.usage.quota_repository import QuotaRepository

router = Router(
    prefix="/v1/process",
    tags=["Processing"],
    route_class=StrictRoute,
    responses=problem_responses(400, 401, 403, 413, 415, 422, 429, 503),
)


@router.post("", responses={**ANSWER_OR_STREAM, **problem_responses(402, 409)})
async def process(body: ProcessRequest, answering: AnsweringDep) -> Response:
    """Split the text, ask the upstreams at once, fold their answers into one. Failed chunks are data, not errors.

    With `"stream": true` or `Accept: text/event-stream` each result comes as soon as it is there.
    """
    return await answering.answer(body)


async def _process_directly(request: Request, body: ProcessRequest) -> Response:
    return await answering_directly(request).answer(body)


DIRECT = Direct(ProcessRequest, _process_directly)
"""Answers as `process` does, without the framework."""


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
    return Response(await encode_quote(plan, remaining), media_type=JSON)
