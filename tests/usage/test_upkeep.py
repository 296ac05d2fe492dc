"""The dangers of upkeep: months removed that were still needed, a chore that stops the others, a ledger held up."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest

from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.ledger import Ledger
from fanfold.usage.upkeep import Upkeep
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.usage.books import Books, events, hold
from tests.usage.history import History, at, history, hours_ago

OLD, KEPT = date(2024, 1, 1), date(2024, 2, 1)


@pytest.fixture
def books(own_database: TestDatabase) -> Books:
    return Books(own_database)


@pytest.fixture
async def past(books: Books) -> AsyncIterator[History]:
    async with history(books) as past:
        for month in (OLD, KEPT):
            await past.partition(month)
        yield past


def _months_back(month: date) -> int:
    """Return the retention under which `month` is the newest to go."""
    now = period_of(utc_now())
    return (now.year - month.year) * 12 + now.month - month.month - 1


async def _partitions(past: History) -> set[str]:
    rows = await past.connection.fetch(
        "select relname from pg_class c join pg_inherits i on i.inhrelid = c.oid "
        "where i.inhparent = 'fanfold.usage_events'::regclass"
    )
    return {row["relname"] for row in rows}


async def _upkeep(books: Books, months: int) -> Upkeep:
    upkeep = Upkeep(books.connect, retention_months=months)
    await upkeep.round()
    return upkeep


class TestRetention:
    async def test_removes_months_that_are_past_it_and_rolled_up(self, books: Books, past: History):
        tenant = await books.new_tenant()
        await past.event(tenant, at("2024-01-20"), 5)
        await past.event(tenant, at("2024-02-20"), 7)
        await past.roll(at("2024-03-01"))
        upkeep = await _upkeep(books, _months_back(OLD))
        assert (upkeep.months, upkeep.failures) == (1, 0)
        assert "usage_events_202401" not in await _partitions(past)
        assert "usage_events_202402" in await _partitions(past)
        assert [row["units"] for row in await books.rows("usage_events", tenant)] == [7]
        days = [row for row in await books.rows("usage_days", tenant) if row["dimension"] == "day"]
        assert {row["day"]: row["units"] for row in days} == {date(2024, 1, 20): 5, date(2024, 2, 20): 7}
        assert (await books.quota(tenant, OLD))["used"] == 5
        removed = await past.connection.fetch("select month from fanfold.usage_removed_months")
        assert [row["month"] for row in removed] == [OLD]

    async def test_keeps_a_month_that_is_not_rolled_up(self, books: Books, past: History):
        tenant = await books.new_tenant()
        await past.event(tenant, at("2024-01-20"), 5)
        await past.event(tenant, hours_ago(0.001), 6, period=OLD)
        async with books.app() as app:
            for _ in range(2):
                assert await app.fetchval("select fanfold.usage_retention($1)", _months_back(OLD)) is None
        assert {row["units"] for row in await books.rows("usage_events", tenant)} == {5, 6}
        forced = await past.connection.fetchval(
            "select relforcerowsecurity from pg_class where relname = 'usage_events_202401'"
        )
        assert forced is True

    @pytest.mark.parametrize("months", [0, -1])
    async def test_below_one_everything_stays(self, books: Books, past: History, months: int):
        before = await _partitions(past)
        await past.roll(at("2024-03-01"))
        assert (await _upkeep(books, months)).months == 0
        assert await _partitions(past) == before

    async def test_this_month_and_the_one_before_always_stay(self, books: Books, past: History):
        now = period_of(utc_now())
        last = period_of(datetime(now.year, now.month, 1, tzinfo=UTC) - (utc_now() - hours_ago(24)))
        await past.partition(last)
        async with books.app() as app:
            while await app.fetchval("select fanfold.usage_retention(1)"):
                pass
        left = await _partitions(past)
        assert left >= {f"usage_events_{now:%Y%m}", f"usage_events_{last:%Y%m}"}
        assert not left & {"usage_events_202401", "usage_events_202402"}

    async def test_gives_way_to_a_long_reader_and_holds_up_no_flush(self, books: Books, past: History):
        tenant = await books.new_tenant(1_000_000)
        await past.roll(at("2024-03-01"))
        async with books.app() as reader, Ledger(books.connect) as ledger:
            async with reader.transaction():
                await reader.fetch("select from fanfold.usage_events limit 1")
                upkeep = Upkeep(books.connect, retention_months=_months_back(OLD))
                removing = asyncio.create_task(upkeep.round())
                async with asyncio.timeout(30):
                    while not removing.done():
                        await ledger.settle((await hold(ledger, tenant, 2)).reservation, events(2))
                assert (upkeep.months, upkeep.failures) == (0, 1)
            await upkeep.round()
            assert (upkeep.months, upkeep.failures) == (1, 1)


class TestRound:
    async def test_rolls_what_is_due_and_goes_on_where_a_chore_fails(self, books: Books, past: History):
        await past.event(await books.new_tenant(), hours_ago(5), 1)
        await past.connection.execute(
            "revoke execute on function fanfold.usage_retention(integer) from fanfold_app"
        )
        await past.event(await books.new_tenant(), at("2020-01-01"), 1)
        upkeep = await _upkeep(books, 25)
        assert upkeep.failures == 1
        assert upkeep.hours == 1_000  # six years are more than one round's share
        assert upkeep.default_rows == 1

    async def test_a_database_that_is_away_is_met_again(self, books: Books):
        answers = [ConnectionRefusedError(), ConnectionRefusedError(), ConnectionRefusedError()]

        async def connect():
            if answers:
                raise answers.pop()
            return await books.connect()

        upkeep = Upkeep(connect, retention_months=25)
        await upkeep.round()
        assert (upkeep.failures, upkeep.hours) == (3, 0)
        await upkeep.round()
        assert (upkeep.failures, upkeep.hours) == (3, 1)


class Silent:
    """A connection to a server that has fallen silent: closing it takes as long as it may."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.is_terminated = False

    async def execute(self, _statement: str) -> None: ...

    async def prepare(self, _statement: str) -> "Silent":
        return self

    async def fetchrow(self, *_arguments: object, timeout: float) -> tuple[None]:
        assert timeout > 60
        return (None,)

    async def close(self, *, timeout: float) -> None:
        self.waited.append(timeout)
        raise TimeoutError

    def terminate(self) -> None:
        self.is_terminated = True


async def test_a_stop_waits_no_minute_for_a_server_that_has_fallen_silent():
    silent = Silent()

    async def connect():
        return silent

    await Upkeep(connect, retention_months=25).roll()
    assert silent.is_terminated
    assert silent.waited == [5.0]


class TestDefaultRows:
    async def test_counts_what_no_month_holds_before_between_and_after(self, books: Books, past: History):
        tenant = await books.new_tenant()
        await past.event(tenant, at("2024-01-20"))
        async with books.app() as app:
            assert await app.fetchval("select fanfold.usage_default_rows()") == 0
            for day in ("2023-12-31", "2024-03-01", "2024-05-31", "2040-01-01"):
                await past.event(tenant, at(day))
            assert await app.fetchval("select fanfold.usage_default_rows()") == 4
        default = await past.connection.fetchval("select count(*) from only fanfold.usage_events_default")
        assert default == 4

    async def test_the_server_shows_it_and_keeps_usage_up(self, books: Books, past: History):
        await past.event(await books.new_tenant(), at("2023-12-31"))
        settings = product_settings(books.database)
        async with running_product(books.database, settings) as product:
            await product.app.state.upkeep.round()
            text = (await product.http().get("/metrics")).text
        assert "fanfold_usage_default_partition_rows 1.0" in text
        assert await past.connection.fetchval("select count(*) from fanfold.usage_rolls") > 0


async def test_the_key_of_events_is_the_newest_index_of_every_partition(past: History):
    """The planner takes the newest of equals, and the flush keeps its plan; see test_plans.py."""
    oldest = await past.connection.fetch(
        "select indrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid "
        "where c.relname ~ '^usage_events' group by 1 "
        "having max(indexrelid::bigint) filter (where indisprimary) < max(indexrelid::bigint)"
    )
    assert [row[0] for row in oldest] == []
