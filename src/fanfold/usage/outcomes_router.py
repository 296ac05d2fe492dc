"""`/v1/usage/outcomes`: a tenant's own requests whose bill is or was in doubt."""

from typing import Annotated

from fastapi import Query

from fanfold.auth.dependencies import CurrentTenant, DbSession
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.usage.outcome_repository import OutcomeFilter, OutcomeRepository
from fanfold.usage.outcome_schemas import OutcomeKind, OutcomeRead, OutcomeState

UsageReader = Annotated[Principal, Require(Scope.USAGE_READ)]
State = Annotated[OutcomeState, Query(description="open: nobody has decided yet.")]
Kind = Annotated[
    OutcomeKind | None, Query(description="unknown: no word of it; unbilled: served for nothing.")
]

router = Router(
    prefix="/v1/usage/outcomes",
    tags=["Usage"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


@router.get("")
async def list_own_outcomes(
    session: DbSession,
    tenant: CurrentTenant,
    _principal: UsageReader,
    kind: Kind = None,
    state: State = OutcomeState.OPEN,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[OutcomeRead]:
    """List requests that ended without a word or were served for nothing, newest first."""
    chosen = OutcomeFilter(state=state, kind=kind, tenant_id=tenant.id)
    rows, next_cursor = await OutcomeRepository(session).list(chosen, limit=limit, cursor=cursor)
    return Page(data=[OutcomeRead.model_validate(row) for row in rows], next_cursor=next_cursor)
