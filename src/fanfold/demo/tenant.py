"""The demo's tenant, its key and its upstreams; made once, found again by later runs."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate
from fanfold.api_keys.service import ApiKeyService
from fanfold.auth.principal import TENANT_SCOPES
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.schemas import MAX_LIMIT
from fanfold.core.values import value
from fanfold.demo.upstream import MODEL
from fanfold.fanout.guard import AddressGuard
from fanfold.tenants.limits import Limits
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import TenantCreate
from fanfold.tenants.service import TenantService
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.schemas import UpstreamCreate, UpstreamUpdate
from fanfold.upstreams.service import UpstreamService

SLUG = "demo"
PLAN = "pro"
KEY_NAME = "fanfold demo"


@value
class DemoTools:
    """What the demo needs of the running server."""

    database: Database
    key_ring: KeyRing
    guard: AddressGuard


async def prepare(tools: DemoTools, upstream_address: str) -> str:
    """Make or find tenant and upstreams, point them at `upstream_address`, and return a fresh API key.

    The key of the run before is revoked.
    """
    async with tools.database.operator_session() as session, session.begin():
        tenant_id, limits = await _tenant(session)
    async with tools.database.session(tenant_id) as session, session.begin():
        await _upstreams(session, tenant_id, limits, tools, upstream_address)
        return await _key(session, tenant_id, limits, tools.key_ring)


async def _tenant(session: AsyncSession) -> tuple[UUID, Limits]:
    repository = TenantRepository(session)
    tenants = TenantService(repository)
    found = await repository.find_by_slug(SLUG)
    if found is None:
        found, limits = await tenants.create(TenantCreate(slug=SLUG, name="Demo", plan=PLAN))
    else:
        found, limits = await tenants.resume(found.id)
    return found.id, limits


async def _upstreams(
    session: AsyncSession, tenant_id: UUID, limits: Limits, tools: DemoTools, address: str
) -> None:
    repository = UpstreamRepository(session, tenant_id)
    service = UpstreamService(repository, key_ring=tools.key_ring, guard=tools.guard)
    present = {upstream.slug: upstream.id for upstream in await repository.all()}
    for members in _wanted(address):
        if members["slug"] in present:
            await service.update(present[members["slug"]], UpstreamUpdate(url=members["url"]))
        else:
            await service.create(tenant_id, UpstreamCreate(**members), max_upstreams=limits.max_upstreams)


def _wanted(address: str) -> tuple[dict[str, Any], ...]:
    prices = {"units_per_call": 1, "units_per_1k_chars": 2}
    summarize = {"slug": "summarize", "kind": "http_json", "url": f"{address}/summarize"}
    chat = {"slug": "chat", "kind": "openai", "url": f"{address}/v1", "model": MODEL}
    return (summarize | prices | {"response_path": "summary"}, chat | prices)


async def _key(session: AsyncSession, tenant_id: UUID, limits: Limits, ring: KeyRing) -> str:
    repository = ApiKeyRepository(session, tenant_id)
    service = ApiKeyService(repository, ring)
    present, _ = await repository.list(limit=MAX_LIMIT, cursor=None)
    for key in present:
        if key.name == KEY_NAME and key.revoked_at is None:
            await service.revoke(key.id)
    wanted = ApiKeyCreate(name=KEY_NAME, scopes=sorted(TENANT_SCOPES))
    _, issued = await service.issue(tenant_id, wanted, max_api_keys=limits.max_api_keys)
    return issued.key.get_secret_value()
