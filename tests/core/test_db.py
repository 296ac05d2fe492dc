"""The serving role, and sessions that carry their tenant."""

import asyncio
import os
import signal
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fanfold.core.db import Database, RoleTooStrong
from fanfold.core.errors import NotReady

TENANT = text("select nullif(current_setting('app.tenant_id', true), '')")
ROLE = text("select current_user")


@pytest.fixture
async def database(database_urls):
    async with Database(database_urls.app_url, pool_size=2) as database:
        yield database


class TestRole:
    async def test_the_serving_login_may_serve(self, database):
        await database.check_role()

    @pytest.mark.parametrize("url", ["owner_url", "superuser_url"])
    async def test_a_stronger_one_may_not_and_is_told_what_to_do(self, database_urls, url):
        async with Database(getattr(database_urls, url)) as database:
            with pytest.raises(RoleTooStrong, match="CREATE ROLE fanfold_app LOGIN"):
                await database.check_role()


class TestSession:
    async def test_every_transaction_has_the_tenant_also_after_a_commit(self, database):
        tenant_id = uuid4()
        async with database.session(tenant_id) as session:
            for _ in range(2):
                assert await session.scalar(TENANT) == str(tenant_id)
                await session.commit()

    async def test_the_next_user_of_the_connection_has_none(self, database):
        for _ in range(4):
            async with database.session(uuid4()) as session:
                await session.execute(TENANT)
            async with database.session(None) as session:
                assert await session.scalar(TENANT) is None
            async with database.begin() as connection:
                assert await connection.scalar(TENANT) is None

    async def test_neither_after_an_error_nor_after_a_cancel(self, database):
        async def fail():
            async with database.session(uuid4()) as session:
                await session.execute(text("select 1/0"))

        async def hang():
            async with database.session(uuid4()) as session:
                await session.execute(text("select pg_sleep(60)"))

        with pytest.raises(DBAPIError):
            await fail()
        task = asyncio.create_task(hang())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(4):
            async with database.session(None) as session:
                assert await session.scalar(TENANT) is None

    async def test_who_reads_much_leaves_connections_to_the_others(self, database_urls):
        async with Database(database_urls.app_url, pool_size=4, pool_timeout_s=0.2) as database:
            for _ in range(2):  # the second time: nothing is kept of the first
                async with database.snapshot(uuid4()) as session:
                    await session.execute(TENANT)
                    with pytest.raises(NotReady):
                        async with database.snapshot(uuid4()):
                            pass
                    async with database.session(uuid4()) as other:
                        await other.execute(TENANT)

    async def test_the_operator_s_role_ends_with_its_transaction(self, database):
        async with database.operator_session() as session:
            assert await session.scalar(ROLE) == "fanfold_operator"
        async with database.session(None) as session:
            assert await session.scalar(ROLE) == "fanfold_app"


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("failed"),
        asyncpg.TargetServerAttributeNotMatched("no such host"),
        asyncpg.CannotConnectNowError("starting"),
        asyncpg.InterfaceError("closed"),
        OSError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_where_no_connection_can_be_made_it_is_a_503(database_urls, error):
    class Away(Database):
        async def connect(self, **_settings):
            raise error

    async with Away(database_urls.app_url) as database:
        with pytest.raises(NotReady):
            async with database.session(None) as session:
                await session.execute(ROLE)
        with pytest.raises(NotReady):
            await database.statements.row("select 1")


async def test_a_connection_that_broke_amid_an_exchange_is_a_503(database):
    with pytest.raises(NotReady):
        async with database.session(None):
            # What asyncpg raises for a statement that needs two exchanges, where the server went between them.
            raise asyncpg.InternalClientError


async def test_a_server_that_has_fallen_silent_is_a_503_and_not_a_wait_for_ever(database_urls):
    async with Database(database_urls.app_url, pool_size=1, statement_timeout_s=1.5) as database:
        async with database.session(None) as session:
            backend = await session.scalar(text("select pg_backend_pid()"))
        os.kill(backend, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                with pytest.raises(NotReady):
                    async with database.session(None) as session:
                        await session.execute(text("select 1"))
        finally:
            os.kill(backend, signal.SIGCONT)
        async with database.session(None) as session:
            assert await session.scalar(text("select 1")) == 1
