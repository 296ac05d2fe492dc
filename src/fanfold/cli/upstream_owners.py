"""Whose upstreams a command is about: a tenant's, or those that all tenants share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import typer

from fanfold.cli.database import acting_for, find_tenant, operating
from fanfold.cli.output import Refused
from fanfold.core.db import Database
from fanfold.core.values import value
from fanfold.upstreams.models import SHARED, UpstreamRecord
from fanfold.upstreams.repository import UpstreamRepository
from fanfold.upstreams.service import MAX_SHARED

TenantSlug = Annotated[str | None, typer.Option("--tenant", help="The slug of the tenant.")]
Shared = Annotated[
    bool,
    typer.Option("--shared", help="Instead of a tenant: what all tenants share, and operators alone change."),
]


@value
class Owned:
    """The upstreams of one owner within one transaction, and how many there may be."""

    owner_id: UUID
    upstreams: UpstreamRepository
    max_upstreams: int

    async def find(self, slug: str) -> UpstreamRecord:
        """Return the owner's own upstream of that slug; refuses where there is none."""
        record = await self.upstreams.find_slug(slug)
        if record is None:
            raise Refused(f"There is no upstream `{slug}`. `fanfold upstreams list` shows which there are.")
        return record


def check_owner(tenant: str | None, *, shared: bool) -> None:
    """Refuse a command that names nobody, or both."""
    if (tenant is None) != shared:
        raise typer.BadParameter("Give one of the two: --tenant SLUG or --shared.")


@asynccontextmanager
async def owned(database: Database, tenant: str | None) -> AsyncIterator[Owned]:
    """Open one transaction on a tenant's upstreams, or on the shared ones (None), committed at the end."""
    if tenant is None:
        async with operating(database) as session:
            yield Owned(SHARED, UpstreamRepository(session, SHARED), MAX_SHARED)
        return
    found, limits = await find_tenant(database, tenant)
    async with acting_for(database, found) as session:
        yield Owned(found.id, UpstreamRepository(session, found.id), limits.max_upstreams)
