"""Postgres as the serving role: one engine, sessions that carry the tenant into every transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self
from uuid import UUID

import asyncpg
from sqlalchemy import Connection, MetaData, event, exc, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction

from fanfold.core.away import CONNECTION_LOST, is_away
from fanfold.core.errors import NotReady
from fanfold.core.rested import ask_the_rested
from fanfold.core.roles import IDENTITY, OPERATOR
from fanfold.core.statements import Statements

SCHEMA = "fanfold"
STATEMENT_TIMEOUT_S = 10.0
_STATEMENTS = 4  # connections of a worker's own

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Base(DeclarativeBase):
    """Base of every table: one schema, constraint names by convention so that migrations can name them."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        },
    )


class TenantSession(Session):
    """A session whose every transaction is bound to one tenant, or to none, or to another role than the serving one."""


@event.listens_for(TenantSession, "after_begin")
def _bind(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    # An event, not a dependency: it cannot be forgotten, and it holds for the transaction after a commit too.
    tenant_id = session.info.get("tenant_id")
    connection.exec_driver_sql("select set_config('app.tenant_id', $1, true)", (str(tenant_id or ""),))
    if role := session.info.get("role"):
        connection.exec_driver_sql(f"set local role {role}")


class RoleTooStrong(Exception):
    """The server would serve as a role that row-level security does not bind; the message says what to do."""


_ROLE_CHECK = text(
    """
    select r.rolsuper or r.rolbypassrls or exists (
        select from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'fanfold' and c.relkind in ('r', 'p') and pg_has_role(r.oid, c.relowner, 'usage'))
        or exists (
        select from pg_database d
         where d.datname = current_database() and pg_has_role(r.oid, d.datdba, 'usage'))
      from pg_roles r where r.rolname = current_user
    """
)
_ROLE_ADVICE = (
    "FANFOLD_DATABASE_URL names a role that owns the tables or the database, or stands above row-level security, so "
    "tenants would not be kept apart. Make a serving login, for example\n"
    "    CREATE ROLE fanfold_app LOGIN PASSWORD '...';\n"
    "put it into FANFOLD_DATABASE_URL, put the present address into FANFOLD_OWNER_DATABASE_URL, and run "
    "`fanfold migrate`."
)


@contextmanager
def _away_is_not_ready() -> Iterator[None]:
    """Turn a database that is away, full or too slow into `NotReady`; other errors pass."""
    try:
        yield
    except (*CONNECTION_LOST, exc.TimeoutError, exc.DBAPIError) as error:
        if isinstance(error, exc.DBAPIError) and not _is_away(error):
            raise
        raise NotReady("The database cannot be reached.", headers={"Retry-After": "1"}) from error


def _is_away(error: exc.DBAPIError) -> bool:
    if isinstance(error, exc.InterfaceError) or error.connection_invalidated or error.orig is None:
        return True
    return is_away(error.orig.__cause__ or error.orig)  # asyncpg's own behind SQLAlchemy's translation


class Database:
    """The engine of one process. `session` sees one tenant, `operator_session` all, `identity_session` people."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout_s: float = 5.0,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        # asyncpg reads the address itself: it knows sslmode and all else that libpq's addresses may say.
        self._dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        connect = partial(
            self.connect,
            timeout=pool_timeout_s,
            # Above the server's own time-out: for a server that has fallen silent, and ends nothing.
            command_timeout=statement_timeout_s + 1,
            server_settings={"statement_timeout": str(int(statement_timeout_s * 1000))},
        )
        self.statements = Statements(connect, most=min(_STATEMENTS, pool_size), wait_s=pool_timeout_s)
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            hide_parameters=True,
        )
        ask_the_rested(self.engine)
        self._sessions = async_sessionmaker(
            self.engine, class_=AsyncSession, sync_session_class=TenantSession, expire_on_commit=False
        )
        self._repeatable = self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._snapshots, self._wait_s = asyncio.Semaphore(max(1, pool_size // 4)), pool_timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.statements.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def session(self, tenant_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """Open a session that sees the rows of `tenant_id` alone; None sees no tenant's rows."""
        with _away_is_not_ready():
            async with self._sessions(info={"tenant_id": tenant_id}) as session:
                yield session

    @asynccontextmanager
    async def snapshot(self, tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        """Open a tenant's session each of whose transactions sees one moment, however many statements it reads with.

        Who needs that reads much, so a quarter of the pool is all that such sessions take: the rest is for the others.
        """
        with _away_is_not_ready():
            async with asyncio.timeout(self._wait_s):
                await self._snapshots.acquire()
            try:
                async with self._sessions(bind=self._repeatable, info={"tenant_id": tenant_id}) as session:
                    yield session
            finally:
                self._snapshots.release()

    @asynccontextmanager
    async def operator_session(self) -> AsyncIterator[AsyncSession]:
        """Open a session under the operator's role, which sees every tenant."""
        with _away_is_not_ready():
            async with self._sessions(info={"role": OPERATOR}) as session:
                yield session

    @asynccontextmanager
    async def identity_session(self) -> AsyncIterator[AsyncSession]:
        """Open a session under the identity role, which sees people and their sign-ins, and no tenant's own things."""
        with _away_is_not_ready():
            async with self._sessions(info={"role": IDENTITY}) as session:
                yield session

    async def connect(self, **settings: Any) -> asyncpg.Connection:
        """Open one connection outside the pool: for lanes, listeners and a worker's statements."""
        return await asyncpg.connect(self._dsn, **settings)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        """Run statements of no tenant in one transaction: definer functions and health checks."""
        with _away_is_not_ready():
            async with self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection whose every statement commits on its own: what it locks is held for no round trip."""
        with _away_is_not_ready():
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def check_role(self) -> None:
        """Refuse to serve as a superuser, an owner or a role that bypasses row-level security."""
        async with self.begin() as connection:
            if (await connection.execute(_ROLE_CHECK)).scalar_one():
                raise RoleTooStrong(_ROLE_ADVICE)
