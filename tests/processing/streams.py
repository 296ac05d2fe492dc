"""The service under test, as the application wires it, and what its streams tell."""

import asyncio
from typing import Any

import orjson

from fanfold.auth.dependencies import Quota
from fanfold.idempotency.service import KeptAnswers
from fanfold.processing.events import Event
from fanfold.processing.schemas import ProcessRequest
from fanfold.processing.selection import AddressPolicy
from fanfold.processing.service import ProcessingService
from fanfold.processing.types import Admission
from fanfold.tenants.periods import period_end, period_of, utc_now
from tests.fixtures.app import Product, TenantClient


def service_of(product: Product) -> ProcessingService:
    state = product.app.state
    return ProcessingService(
        fan_out=state.fan_out,
        ledger=state.ledger,
        answers=KeptAnswers(state.database, state.key_ring),
        upstreams=state.upstream_directory,
        addresses=AddressPolicy(state.address_guard, adhoc_allowed=False),
        background=state.background,
        count_calls=lambda _code, _calls: None,
    )


async def admitted(product: Product, client: TenantClient, text: str, **options: Any) -> Admission:
    """Admit a request of the tenant's key, as the route does."""
    principal = await product.app.state.authenticators[0].authenticate(client.key)
    tenant = principal.tenant
    start = period_of(utc_now(), tenant.period)
    quota = Quota(
        tenant_id=tenant.id,
        period=tenant.period,
        period_start=start,
        period_end=period_end(start, tenant.period),
    )
    request = ProcessRequest(text=text, **options)
    return await service_of(product).admit(principal, tenant, quota, request)


async def told(product: Product, admission: Admission) -> list[tuple[str, Any]]:
    """Return all events of a request as (name, value)."""
    async with service_of(product).streamed(admission) as events:
        return [(event.name, orjson.loads(event.data)) async for event in events]


async def read_until(product: Product, admission: Admission, name: str) -> list[Event]:
    """Read a request's events until one of this name, and leave."""
    seen = []
    async with service_of(product).streamed(admission) as events:
        async for event in events:
            seen.append(event)
            if event.name == name:
                break
    return seen


async def settled(tenant: TenantClient, units: int) -> None:
    """Wait until the tenant has used so many units and none is held."""
    async with asyncio.timeout(30):
        while ((usage := await tenant.usage())["used"], usage["reserved"]) != (units, 0):
            await asyncio.sleep(0.02)
