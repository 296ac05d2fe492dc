"""`/v1/admin/upstreams`: the operator's upstreams, which all tenants share."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from fanfold.admin.reasons import Why
from fanfold.audit.types import Actor
from fanfold.auth.dependencies import (
    CurrentActor,
    DatabaseDep,
    OperatorDbSession,
    OperatorOnce,
    OperatorPrincipal,
)
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.upstreams.circuits import CLOSED
from fanfold.upstreams.mapping import read_price, read_upstream
from fanfold.upstreams.models import SHARED
from fanfold.upstreams.price_service import PriceService
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import (
    PriceCreate,
    PriceRead,
    UpstreamCreate,
    UpstreamRead,
    UpstreamTrial,
    UpstreamUpdate,
)
from fanfold.upstreams.service import MAX_SHARED, UpstreamService
from fanfold.upstreams.trial import try_upstream, upstream_to_try

router = Router(
    prefix="/v1/admin/upstreams",
    tags=["Operators"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _changed(request: Request) -> AsyncIterator[None]:
    """Let this process see an operator's own change as soon as it is committed."""
    yield
    request.app.state.upstream_directory.forget(SHARED)


# Asked for before the session, so that it ends after the session's commit.
Changed = Annotated[None, Depends(_changed, scope="function")]


async def _repository(session: OperatorDbSession) -> UpstreamRepository:
    return UpstreamRepository(session, SHARED)


RepositoryDep = Annotated[UpstreamRepository, Depends(_repository)]


def _service_of(
    request: Request, upstreams: UpstreamRepository, actor: Actor, reason: str | None
) -> UpstreamService:
    state = request.app.state
    return UpstreamService(
        upstreams, key_ring=state.key_ring, guard=state.address_guard, actor=actor, reason=reason
    )


async def _service(
    request: Request, _changed: Changed, upstreams: RepositoryDep, actor: CurrentActor
) -> UpstreamService:
    return _service_of(request, upstreams, actor, None)


async def _changing(
    request: Request, _changed: Changed, upstreams: RepositoryDep, actor: CurrentActor, reason: Why = None
) -> UpstreamService:
    return _service_of(request, upstreams, actor, reason)


async def _changing_prices(
    _changed: Changed, upstreams: RepositoryDep, actor: CurrentActor, reason: Why = None
) -> PriceService:
    return PriceService(upstreams, actor=actor, reason=reason)


UpstreamServiceDep = Annotated[UpstreamService, Depends(_service)]
ChangingDep = Annotated[UpstreamService, Depends(_changing)]
ChangingPricesDep = Annotated[PriceService, Depends(_changing_prices)]


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_shared_upstream(
    wanted: UpstreamCreate, upstreams: UpstreamServiceDep, response: Response, _once: OperatorOnce
) -> UpstreamRead:
    """Register an upstream that all tenants share.

    With `is_default` it answers for tenants that have no default of their own.
    """
    record = await upstreams.create(SHARED, wanted, max_upstreams=MAX_SHARED)
    response.headers["Location"] = f"/v1/admin/upstreams/{record.id}"
    return read_upstream(record)


@router.get("")
async def list_shared_upstreams(
    upstreams: RepositoryDep, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[UpstreamRead]:
    """List the upstreams that all tenants share, newest first."""
    rows, next_cursor = await upstreams.list(limit=limit, cursor=cursor)
    circuits = await upstreams.circuits.of([row.id for row in rows])
    data = [read_upstream(row, circuits.get(row.id, CLOSED)) for row in rows]
    return Page(data=data, next_cursor=next_cursor)


@router.get("/{shared_id}", responses=problem_responses(404))
async def get_shared_upstream(shared_id: UUID, upstreams: UpstreamServiceDep) -> UpstreamRead:
    """Show one shared upstream, without its credential; its circuit is open where it is for any tenant."""
    record = await upstreams.get(shared_id)
    return read_upstream(record, await upstreams.circuit(shared_id))


@router.patch("/{shared_id}", responses=problem_responses(400, 404, 409, 413, 415))
async def update_shared_upstream(
    shared_id: UUID, wanted: UpstreamUpdate, upstreams: ChangingDep
) -> UpstreamRead:
    """Change a shared upstream for all tenants, within 2 s; a `url` of another origin erases the credential."""
    record = await upstreams.update(shared_id, wanted)
    return read_upstream(record, await upstreams.circuit(shared_id))


@router.delete("/{shared_id}", status_code=204, responses=problem_responses(404))
async def delete_shared_upstream(shared_id: UUID, upstreams: ChangingDep) -> None:
    """Delete a shared upstream; requests that run go on with it."""
    await upstreams.delete(shared_id)


@router.post("/{shared_id}/test", responses=problem_responses(404))
async def run_shared_upstream_test(
    shared_id: UUID, request: Request, database: DatabaseDep, _operator: OperatorPrincipal
) -> UpstreamTrial:
    """Call a shared upstream once with a few fixed words, also a disabled one, and say what is wrong."""
    state = request.app.state
    # Only to read it: while it is called, the connection is others'.
    async with database.operator_session() as session:
        upstream = await upstream_to_try(UpstreamRepository(session, SHARED), shared_id, state.key_ring)
    return await try_upstream(state.fan_out, upstream)


@router.get("/{shared_id}/prices", responses=problem_responses(404))
async def list_shared_prices(
    shared_id: UUID, upstreams: RepositoryDep, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[PriceRead]:
    """List the prices of a shared upstream, from the one that begins last."""
    spans, next_cursor = await PriceService(upstreams).list(shared_id, limit=limit, cursor=cursor)
    return Page(
        data=[read_price(span.record, span.effective_until) for span in spans], next_cursor=next_cursor
    )


@router.post("/{shared_id}/prices", status_code=201, responses=problem_responses(400, 404, 409, 413, 415))
async def add_shared_price(
    shared_id: UUID, wanted: PriceCreate, prices: ChangingPricesDep, _once: OperatorOnce
) -> PriceRead:
    """Add a price that holds for all tenants from a moment on, or from now."""
    added = await prices.add(shared_id, wanted)
    return read_price(added.record, added.effective_until)


@router.delete(
    "/{shared_id}/prices/{shared_price_id}", status_code=204, responses=problem_responses(404, 409)
)
async def withdraw_shared_price(shared_id: UUID, shared_price_id: UUID, prices: ChangingPricesDep) -> None:
    """Withdraw a price that has not begun."""
    await prices.withdraw(shared_id, shared_price_id)
