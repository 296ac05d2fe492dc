"""`/v1/admin/outcomes`: requests whose bill needs a person."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from fanfold.auth.dependencies import CurrentActor, DatabaseDep, OperatorDbSession, OperatorPrincipal
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.usage.outcome_repository import OutcomeFilter, OutcomeRepository
from fanfold.usage.outcome_schemas import OperatorOutcomeRead, OutcomeResolve, OutcomeState
from fanfold.usage.outcome_service import OutcomeService
from fanfold.usage.outcomes_router import Kind, State

router = Router(
    prefix="/v1/admin/outcomes",
    tags=["Operators"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


@router.get("")
async def list_outcomes(
    session: OperatorDbSession,
    kind: Kind = None,
    tenant_id: Annotated[UUID | None, Query(description="Of one tenant alone.")] = None,
    state: State = OutcomeState.OPEN,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[OperatorOutcomeRead]:
    """List requests that ended without a word or were served for nothing, newest first."""
    chosen = OutcomeFilter(state=state, kind=kind, tenant_id=tenant_id)
    rows, next_cursor = await OutcomeRepository(session).list(chosen, limit=limit, cursor=cursor)
    return Page(data=[OperatorOutcomeRead.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.post("/{tenant_id}/{request_id}/resolve", responses=problem_responses(400, 404, 409, 413, 415))
async def resolve_outcome(
    tenant_id: UUID,
    request_id: UUID,
    wanted: OutcomeResolve,
    database: DatabaseDep,
    actor: CurrentActor,
    _operator: OperatorPrincipal,
) -> OperatorOutcomeRead:
    """End an open outcome for good: bill it, or waive it. 409 where somebody, or its own late bill, was faster."""
    # No session of the request's own: the pool's connection is held for one statement, and locks nothing after it.
    resolved = await OutcomeService(database).resolve(tenant_id, request_id, wanted, actor=actor)
    return OperatorOutcomeRead.model_validate(resolved)
