"""Statements that commit on their own: few connections, none that is in doubt, and a database that is away."""

import asyncio

import asyncpg
import pytest

from fanfold.core.errors import NotReady
from fanfold.core.statements import Statements

MINE = "select pg_backend_pid() as pid"


class Opened:
    """Opens connections, and knows them."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")
        self.all: list[asyncpg.Connection] = []

    async def __call__(self) -> asyncpg.Connection:
        self.all.append(await asyncpg.connect(self._url, timeout=20))
        return self.all[-1]


@pytest.fixture
def opened(database_urls) -> Opened:
    return Opened(database_urls.app_url)


@pytest.fixture
async def statements(opened):
    statements = Statements(opened, most=4, wait_s=0.2)
    yield statements
    await statements.close()


async def test_one_after_the_other_go_over_one_connection(statements, opened):
    found = {(await statements.row(MINE))["pid"] for _ in range(5)}
    assert len(found) == len(opened.all) == 1
    assert await statements.row("select where false") is None


async def test_four_go_at_once_and_a_fifth_waits_no_longer_than_it_may(statements, opened):
    busy = [asyncio.create_task(statements.row("select pg_sleep(2)")) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await statements.row(MINE)
    await asyncio.gather(*busy)
    assert len(opened.all) == 4
    await statements.row(MINE)


async def test_what_was_cut_off_is_not_given_to_others(statements, opened):
    await statements.row(MINE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await statements.row("select pg_sleep(60)")
    assert opened.all[0].is_closed()
    assert (await statements.row("select 1 as one"))["one"] == 1
    assert len(opened.all) == 2


async def test_a_fault_of_the_statement_is_told_as_it_is(statements):
    with pytest.raises(asyncpg.DivisionByZeroError):
        await statements.row("select 1 / 0")


async def test_a_connection_that_was_ended_is_not_ready_once(statements, opened, database_urls):
    pid = (await statements.row(MINE))["pid"]
    other = await asyncpg.connect(database_urls.superuser_url.replace("+asyncpg", ""))
    cut_off = asyncio.create_task(statements.row("select pg_sleep(60)"))
    await asyncio.sleep(0.05)
    await other.execute("select pg_terminate_backend($1)", pid)
    with pytest.raises(NotReady):
        await cut_off
    assert (await statements.row(MINE))["pid"] != pid
    pid = (await statements.row(MINE))["pid"]
    await other.execute("select pg_terminate_backend($1)", pid)
    async with asyncio.timeout(20):
        while not opened.all[-1].is_closed():
            await asyncio.sleep(0.01)
    assert (await statements.row(MINE))["pid"] != pid
    await other.close()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.InterfaceError("the connection is closed"),
        asyncpg.InternalClientError('cannot switch to state 12; protocol is in the "failed" state'),
        asyncpg.CannotConnectNowError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_where_nobody_answers_it_is_not_ready(error):
    async def refused() -> asyncpg.Connection:
        raise error

    with pytest.raises(NotReady):
        await Statements(refused, most=4, wait_s=1).row(MINE)


async def test_closed_it_has_no_connections(statements, opened):
    await statements.row(MINE)
    await statements.close()
    assert all(connection.is_closed() for connection in opened.all)


async def test_one_that_has_rested_too_long_is_replaced(opened):
    statements = Statements(opened, most=4, wait_s=20, rest_s=0.7)
    first = (await statements.row(MINE))["pid"]
    assert (await statements.row(MINE))["pid"] == first
    await asyncio.sleep(0.8)
    assert (await statements.row(MINE))["pid"] != first
    assert opened.all[0].is_closed()
    await statements.close()
