"""Upstreams by their id, for who may see them and for who may change them."""

from uuid import UUID

from fanfold.core.errors import NotFound
from fanfold.upstreams.models import UpstreamRecord
from fanfold.upstreams.repository import UpstreamRepository


async def visible_upstream(upstreams: UpstreamRepository, upstream_id: UUID) -> UpstreamRecord:
    """Return an upstream of the owner's own or a shared one, or a 404."""
    record = await upstreams.find(upstream_id)
    if record is None:
        raise NotFound("There is no such upstream.")
    return record


async def own_upstream(upstreams: UpstreamRepository, upstream_id: UUID) -> UpstreamRecord:
    """Return an upstream of the owner's own, to be changed or tried, or a 404."""
    record = await visible_upstream(upstreams, upstream_id)
    if not upstreams.is_mine(record):
        raise NotFound("This upstream is shared by all tenants: operators change it, and no tenant does.")
    return record
