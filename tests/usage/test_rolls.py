"""The dangers of a daily sum: an event counted twice, or never, at the seam between the sums and the events."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.usage.ledger import Ledger
from fanfold.usage.repository import UsageRepository
from fanfold.usage.sums import GroupBy, UsageSpan, sums
from tests.fixtures.database import TestDatabase
from tests.usage.books import Books, events, hold
from tests.usage.history import History, at, history, hours_ago

DAY = "2026-03-10"


@pytest.fixture
def books(own_database: TestDatabase) -> Books:
    return Books(own_database)


@pytest.fixture
async def past(books: Books) -> AsyncIterator[History]:
    async with history(books) as past:
        yield past


@pytest.fixture
async def database(books: Books) -> AsyncIterator[Database]:
    async with Database(books.database.app_url) as database:
        yield database


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


async def _by(
    database: Database, tenant: UUID, group_by: GroupBy, span: UsageSpan | None = None
) -> dict[Any, Any]:
    async with database.session(tenant) as session:
        lines = await UsageRepository(session, tenant).lines(group_by, span or UsageSpan())
    return {line.group: (line.units, line.events, line.unbilled) for line in lines}


class TestSeam:
    async def test_every_reading_is_the_same_before_while_and_after_rolling(
        self, books: Books, past: History, database: Database
    ):
        tenant, stranger, key = await books.new_tenant(), await books.new_tenant(), uuid7()
        for number, time in enumerate(("09:00", "09:59", "10:00", "10:30", "23:59"), 1):
            await past.event(tenant, at(DAY, time), number, api_key=key, upstream=f"u{number % 2}")
            await past.event(stranger, at(DAY, time), 100)
        await past.event(tenant, at("2026-03-11", "00:00"), 7, outcome="billed")
        await past.event(tenant, at("2026-03-11", "00:01"), 0, outcome="unbilled", due_units=3)

        async def seen() -> list[dict[Any, Any]]:
            return [await _by(database, tenant, group) for group in GroupBy]

        before = await seen()
        assert before == [
            {date(2026, 3, 10): (15, 5, 0), date(2026, 3, 11): (7, 2, 1)},
            {"u0": (6, 2, 0), "u1": (9, 3, 0), "摘要": (7, 2, 1)},
            {key: (15, 5, 0), None: (7, 2, 1)},
        ]
        hours = [at(DAY, time) for time in ("09:30", "10:00", "10:01", "11:00")]
        for until in (*hours, at("2026-03-11", "00:30"), at("2026-03-11", "01:00"), at("2026-04-01")):
            await past.roll(until)
            assert await seen() == before, until
        assert await past.roll(at("2026-04-01")) == 0
        assert await seen() == before

    async def test_a_late_event_of_an_old_period_is_counted_on_its_own_day(
        self, books: Books, past: History, database: Database
    ):
        tenant = await books.new_tenant()
        march = date(2026, 3, 1)
        await past.event(tenant, at("2026-03-31", "23:59"), 1)
        await past.roll(at("2026-04-01", "00:00"))
        await past.event(tenant, at("2026-04-01", "00:10"), 2, period=march)
        await past.event(tenant, at("2026-04-01", "00:10"), 4)
        for until in (None, at("2026-04-01", "01:00")):
            if until:
                await past.roll(until)
            assert await _by(database, tenant, GroupBy.DAY, UsageSpan(period_start=march)) == {
                date(2026, 3, 31): (1, 1, 0),
                date(2026, 4, 1): (2, 1, 0),
            }
            april = UsageSpan(first=date(2026, 4, 1), last=date(2026, 4, 30))
            assert await _by(database, tenant, GroupBy.DAY, april) == {date(2026, 4, 1): (6, 2, 0)}

    async def test_an_hour_waits_for_who_still_writes_into_it(
        self, books: Books, past: History, database: Database
    ):
        tenant = await books.new_tenant()
        await past.event(tenant, at(DAY, "09:00"), 1)
        async with books.superuser() as writer:
            slow = History(writer, books)
            transaction = writer.transaction()
            await transaction.start()
            await slow.event(tenant, at(DAY, "09:30"), 2)
            assert await past.roll(at(DAY, "10:00")) == 0
            rolling = asyncio.create_task(past.roll(at(DAY, "10:00")))
            await asyncio.sleep(0.2)
            await transaction.commit()
        assert await rolling == 1
        assert await _by(database, tenant, GroupBy.DAY) == {date(2026, 3, 10): (3, 2, 0)}
        assert len(await books.rows("usage_days", tenant)) == 3

    async def test_two_rollers_at_once_count_nothing_twice(self, books: Books, past: History):
        tenant = await books.new_tenant()
        for hour in range(8):
            await past.event(tenant, at(DAY, f"{hour:02}:30"), 1)
        async with books.superuser() as one, books.superuser() as other:
            rollers = [History(connection, books) for connection in (one, other)]
            for _ in range(50):
                await asyncio.gather(*(roller.roll(at(DAY, "08:00")) for roller in rollers))
        days = [row for row in await books.rows("usage_days", tenant) if row["dimension"] == "day"]
        assert [(row["units"], row["events"]) for row in days] == [(8, 8)]
        rolls = await past.connection.fetch("select * from fanfold.usage_rolls")
        assert [tuple(row) for row in rolls] == [(date(2026, 3, 10), at(DAY, "08:00"), 8)]

    async def test_what_upstreams_report_stops_nobodys_sums(
        self, books: Books, past: History, database: Database
    ):
        tenant = await books.new_tenant()
        for _ in range(3):
            await past.event(tenant, at(DAY), 1, quantity=2**63 - 1, due_units=2**63 - 1)
        assert await past.roll(at(DAY, "14:00")) > 0
        assert await _by(database, tenant, GroupBy.UPSTREAM) == {"摘要": (3, 3, 0)}


class TestDue:
    async def test_only_hours_over_by_a_minute_are_rolled_and_an_outage_is_caught_up(
        self, books: Books, past: History
    ):
        tenant, first = await books.new_tenant(), hours_ago(50)
        await past.event(tenant, first, 1)
        await past.event(tenant, hours_ago(0.001), 2)
        due = _hour(hours_ago(1 / 60))
        async with books.app() as app:
            hours = 0
            while await app.fetchval("select fanfold.usage_roll_due()"):
                hours += 1
            rolled = await app.fetchval("select max(rolled_until) from fanfold.usage_rolls")
        assert rolled in {due, _hour(hours_ago(1 / 60))}  # an hour may have become due meanwhile
        assert hours == (rolled - _hour(first)) / timedelta(hours=1) >= 49
        assert (
            sum(row["units"] for row in await books.rows("usage_days", tenant) if row["dimension"] == "day")
            == 1
        )

    async def test_a_database_without_events_is_rolled_too(self, books: Books):
        async with books.app() as app:
            answers = [await app.fetchval("select fanfold.usage_roll_due()") for _ in range(2)]
        assert answers == [True, False]

    async def test_live_numbers_are_right_while_the_ledger_and_the_roller_run(
        self, books: Books, database: Database
    ):
        tenant = await books.new_tenant(1_000_000)
        async with Ledger(books.connect) as ledger, history(books) as past:
            for _ in range(20):
                await ledger.settle((await hold(ledger, tenant, 3)).reservation, events(1, 2))
                await past.connection.execute(
                    "update fanfold.usage_events set occurred_at = now() - interval '2 h' "
                    "where tenant_id = $1 and occurred_at > now() - interval '1 h' and call_index = 0", tenant,
                )  # fmt: skip
        async with books.app() as app:
            assert await app.fetchval("select fanfold.usage_roll_due()")
        assert sum(units for units, _, _ in (await _by(database, tenant, GroupBy.UPSTREAM)).values()) == 60


class TestRows:
    async def test_a_year_by_day_reads_a_few_hundred_rows(
        self, books: Books, past: History, database: Database
    ):
        tenant = await books.new_tenant()
        await past.connection.execute(
            """
            insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome,
                                              upstream, quantity, occurred_at)
            select $1, gen_random_uuid(), n, 'calls', date_trunc('month', d)::date, 1, 'billed', 'u', 1,
                   d at time zone 'UTC'
              from generate_series(timestamp '2025-01-01', '2025-12-31', '1 day') d, generate_series(1, 40) n
            """,
            tenant,
        )
        await past.connection.execute("analyze fanfold.usage_events")
        while await past.connection.fetchval("select fanfold.usage_roll('2026-01-01T00:00Z')"):
            pass
        # Others, so that reading the whole table is no choice.
        await past.connection.execute(
            """
            insert into fanfold.usage_days
            select s, dimension, day, period_start, member, upstream, meter, rate, outcome, api_key_id, units, events,
                   unbilled, counted, quantity, due_units
              from fanfold.usage_days, (select gen_random_uuid() from generate_series(1, 30)) g(s)
            """
        )
        await past.connection.execute("vacuum analyze fanfold.usage_days")
        year = UsageSpan(first=date(2025, 1, 1), last=date(2025, 12, 31))
        async with database.session(tenant) as session:
            lines = await UsageRepository(session, tenant).lines(GroupBy.DAY, year)
            connection = await session.connection()
            literally = {"literal_binds": True}
            statement = sums(GroupBy.DAY, year, tenant_id=tenant).compile(
                connection.engine, compile_kwargs=literally
            )
            plan = (
                await connection.exec_driver_sql(f"explain (analyze, format json) {statement}")
            ).scalar_one()
        assert (len(lines), {line.units for line in lines}) == (365, {40})
        read = _rows_read(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan)[0]["Plan"])
        assert read["usage_days"] == 365
        assert sum(rows for table, rows in read.items() if table.startswith("usage_events")) == 0


def _rows_read(node: dict[str, Any]) -> dict[str, int]:
    read: dict[str, int] = {}
    if table := node.get("Relation Name"):
        read[table] = int(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        )
    for child in node.get("Plans", ()):
        for table, rows in _rows_read(child).items():
            read[table] = read.get(table, 0) + rows
    return read


class TestRights:
    async def test_sums_are_the_tenants_own_and_nobody_writes_them(self, books: Books, past: History):
        tenants = [await books.new_tenant(), await books.new_tenant()]
        for tenant in tenants:
            await past.event(tenant, at(DAY))
        await past.roll(at(DAY, "13:00"))
        async with books.app() as app:
            assert await app.fetch("select from fanfold.usage_days") == []
            await app.execute("select set_config('app.tenant_id', $1, false)", str(tenants[0]))
            seen = {row[0] for row in await app.fetch("select tenant_id from fanfold.usage_days")}
            assert seen == {tenants[0]}
            may = [
                await app.fetchval(
                    f"select has_table_privilege('fanfold.{table}', 'insert, update, delete, truncate')"
                )
                for table in ("usage_days", "usage_rolls", "usage_removed_months")
            ]
        assert may == [False, False, False]
