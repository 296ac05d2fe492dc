"""`/v1/upstreams`."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from fanfold.auth.dependencies import CurrentActor, CurrentTenant, DatabaseDep, DbSession, Once
from fanfold.auth.principal import Principal, Scope
from fanfold.auth.requirements import Require
from fanfold.core.routing import Router
from fanfold.core.schemas import DEFAULT_LIMIT, Cursor, Limit, Page, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.upstreams.circuits import CLOSED
from fanfold.upstreams.mapping import read_for_tenant, read_price, read_upstream
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
from fanfold.upstreams.service import UpstreamService
from fanfold.upstreams.trial import try_upstream, upstream_to_try

UpstreamsWriter = Annotated[Principal, Require(Scope.UPSTREAMS_WRITE)]

router = Router(
    prefix="/v1/upstreams",
    tags=["Upstreams"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


async def _changed(request: Request, tenant: CurrentTenant) -> AsyncIterator[None]:
    """Let this process see a tenant's own change as soon as it is committed."""
    yield
    request.app.state.upstream_directory.forget(tenant.id)


# Asked for before the session, so that it ends after the session's commit.
Changed = Annotated[None, Depends(_changed, scope="function")]


async def _service(
    request: Request, _changed: Changed, session: DbSession, tenant: CurrentTenant, actor: CurrentActor
) -> UpstreamService:
    state = request.app.state
    return UpstreamService(
        UpstreamRepository(session, tenant.id),
        key_ring=state.key_ring,
        guard=state.address_guard,
        actor=actor,
    )


async def _price_service(
    _changed: Changed, session: DbSession, tenant: CurrentTenant, actor: CurrentActor
) -> PriceService:
    return PriceService(UpstreamRepository(session, tenant.id), actor=actor)


UpstreamServiceDep = Annotated[UpstreamService, Depends(_service)]
PriceServiceDep = Annotated[PriceService, Depends(_price_service)]


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_upstream(
    wanted: UpstreamCreate,
    upstreams: UpstreamServiceDep,
    tenant: CurrentTenant,
    response: Response,
    _principal: UpstreamsWriter,
    _once: Once,
) -> UpstreamRead:
    """Register an upstream; the tenant's first one becomes its default."""
    record = await upstreams.create(tenant.id, wanted, max_upstreams=tenant.limits.max_upstreams)
    response.headers["Location"] = f"/v1/upstreams/{record.id}"
    return read_upstream(record)


@router.get("")
async def list_upstreams(
    session: DbSession, tenant: CurrentTenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[UpstreamRead]:
    """List the tenant's upstreams and the shared ones, newest first."""
    repository = UpstreamRepository(session, tenant.id)
    rows, next_cursor = await repository.list(limit=limit, cursor=cursor)
    circuits = await repository.circuits.of([row.id for row in rows])
    data = [read_for_tenant(row, circuits.get(row.id, CLOSED)) for row in rows]
    return Page(data=data, next_cursor=next_cursor)


@router.get("/{upstream_id}", responses=problem_responses(404))
async def get_upstream(upstream_id: UUID, upstreams: UpstreamServiceDep) -> UpstreamRead:
    """Show one upstream and its circuit, without its credential; of a shared one nothing of how it is asked."""
    record = await upstreams.get(upstream_id)
    return read_for_tenant(record, await upstreams.circuit(upstream_id))


@router.patch("/{upstream_id}", responses=problem_responses(400, 404, 409, 413, 415))
async def update_upstream(
    upstream_id: UUID, wanted: UpstreamUpdate, upstreams: UpstreamServiceDep, _principal: UpstreamsWriter
) -> UpstreamRead:
    """Change an upstream; a `url` of another origin erases the credential unless a new one comes with it."""
    record = await upstreams.update(upstream_id, wanted)
    return read_upstream(record, await upstreams.circuit(upstream_id))


@router.delete("/{upstream_id}", status_code=204, responses=problem_responses(404))
async def delete_upstream(
    upstream_id: UUID, upstreams: UpstreamServiceDep, _principal: UpstreamsWriter
) -> None:
    """Delete an upstream; requests that run go on with it."""
    await upstreams.delete(upstream_id)


@router.post("/{upstream_id}/test", responses=problem_responses(404))
async def run_upstream_test(
    upstream_id: UUID,
    request: Request,
    tenant: CurrentTenant,
    database: DatabaseDep,
    _principal: UpstreamsWriter,
) -> UpstreamTrial:
    """Call an upstream once with a few fixed words, also a disabled one, and say what is wrong. Bills nothing.

    Waits for the upstream's own time-out, 30 s at most.
    """
    state = request.app.state
    # Only to read it: while it is called, the connection is others'.
    async with database.session(tenant.id) as session:
        upstream = await upstream_to_try(UpstreamRepository(session, tenant.id), upstream_id, state.key_ring)
    return await try_upstream(state.fan_out, upstream)


@router.get("/{upstream_id}/prices", responses=problem_responses(404))
async def list_prices(
    upstream_id: UUID, prices: PriceServiceDep, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[PriceRead]:
    """List the prices of an upstream, from the one that begins last: those to come, the one in force, those before."""
    spans, next_cursor = await prices.list(upstream_id, limit=limit, cursor=cursor)
    return Page(
        data=[read_price(span.record, span.effective_until) for span in spans], next_cursor=next_cursor
    )


@router.post("/{upstream_id}/prices", status_code=201, responses=problem_responses(400, 404, 409, 413, 415))
async def add_price(
    upstream_id: UUID,
    wanted: PriceCreate,
    prices: PriceServiceDep,
    _principal: UpstreamsWriter,
    _once: Once,
) -> PriceRead:
    """Add a price that holds from a moment on, or from now. What was billed before keeps its price."""
    added = await prices.add(upstream_id, wanted)
    return read_price(added.record, added.effective_until)


@router.delete("/{upstream_id}/prices/{price_id}", status_code=204, responses=problem_responses(404, 409))
async def withdraw_price(
    upstream_id: UUID, price_id: UUID, prices: PriceServiceDep, _principal: UpstreamsWriter
) -> None:
    """Withdraw a price that has not begun."""
    await prices.withdraw(upstream_id, price_id)
