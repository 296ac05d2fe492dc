"""What commands share that work on the database, beside a running server or without one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.cli.output import Refused
from fanfold.core.config import Settings
from fanfold.core.db import Database
from fanfold.resources import open_database
from fanfold.tenants.limits import Limits
from fanfold.tenants.models import Tenant
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.service import TenantService

Result = TypeVar("Result")


def in_database(work: Callable[[Database], Awaitable[Result]], settings: Settings) -> Result:
    """Open the database as the serving role, and run `work` to its end."""

    async def run() -> Result:
        async with open_database(settings) as database:
            return await work(database)

    return asyncio.run(run())


async def find_tenant(database: Database, slug: str) -> tuple[Tenant, Limits]:
    """Return the tenant of that slug with its limits; refuses where there is none."""
    async with operating(database) as session:
        tenants = TenantRepository(session)
        found = await tenants.find_by_slug(slug)
        if found is None:
            raise Refused(f"There is no tenant `{slug}`. `fanfold tenants list` shows which there are.")
        return await TenantService(tenants).get(found.id)


@asynccontextmanager
async def operating(database: Database) -> AsyncIterator[AsyncSession]:
    """Open one transaction of the operator's role, committed at the end."""
    async with database.operator_session() as session, session.begin():
        yield session


@asynccontextmanager
async def acting_for(database: Database, tenant: Tenant) -> AsyncIterator[AsyncSession]:
    """Open one transaction that sees one tenant's rows, committed at the end."""
    async with database.session(tenant.id) as session, session.begin():
        yield session
