"""Which revision a database has, and which this code needs: asked at every start, so without Alembic."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from fanfold.core.blocking import run_blocking
from fanfold.core.roles import MigrationRefused
from fanfold.core.values import value

_CONNECT_TIMEOUT_S = 15.0
_CHECKOUT = Path(__file__).parents[3] / "alembic"
_INSTALLED = Path(__file__).parents[1] / "migrations"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
_REVISION = re.compile(r'^(revision|down_revision)\b[^=\n]*= "(\w+)"', re.MULTILINE)

# By the catalogue: to_regclass would fail for a role that may not use the schema yet.
_HAS_REVISION = text(
    """
    SELECT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'fanfold' AND c.relname = 'alembic_version' AND has_schema_privilege(n.oid, 'USAGE')
           AND has_table_privilege(c.oid, 'SELECT'))
    """
)


@value
class Status:
    """Which revision a database has, None before the first migration, and which this version of the code needs."""

    current: str | None
    head: str

    @property
    def is_at_head(self) -> bool:
        """Whether the code and the database fit."""
        return self.current == self.head


@cache
def head() -> str:
    """Return the newest revision of this code, read from its files: importing Alembic takes longer than the rest."""
    found: list[list[tuple[str, str]]] = [
        _REVISION.findall(file.read_text()) for file in FOLDER.glob("versions/*.py")
    ]
    known = {number for each in found for name, number in each if name == "revision"}
    newest = known - {number for each in found for name, number in each if name == "down_revision"}
    if len(newest) != 1:
        raise MigrationRefused("This installation's migrations are not whole: install it anew.")
    return newest.pop()


def current(url: str) -> str | None:
    """Return the revision of a database, None before the first migration. Blocks."""

    async def look() -> str | None:
        async with connected(url) as connection:
            return await current_revision(connection)

    return run_blocking(look())


async def current_revision(connection: AsyncConnection) -> str | None:
    """Return the revision that the database has, None before the first migration; any role of the product may ask."""
    if not (await connection.execute(_HAS_REVISION)).scalar_one():
        return None
    revisions = await connection.execute(text("SELECT version_num FROM fanfold.alembic_version"))
    return revisions.scalar_one_or_none()


def status(url: str) -> Status:
    """Compare a database with this code. Blocks."""
    return Status(current=current(url), head=head())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    """Connect as an address says, without a pool."""
    # asyncpg reads the address itself: it knows `sslmode` and its like, which SQLAlchemy would hand on unread.
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()
