"""The dangers of a bill: lines that do not add up, and nobody who says so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import Period, utc_now
from fanfold.usage.ledger import Ledger
from fanfold.usage.period_names import parse_period
from fanfold.usage.statement import Statement, StatementRepository
from fanfold.usage.statement_schemas import statement_read
from tests.fixtures.database import TestDatabase
from tests.usage.books import Books, events, hold
from tests.usage.history import History, at, history

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


@pytest.fixture
def books(own_database: TestDatabase) -> Books:
    return Books(own_database)


@pytest.fixture
async def past(books: Books) -> AsyncIterator[History]:
    async with history(books) as past:
        for month in (MARCH, APRIL):
            await past.partition(month)
        yield past


@pytest.fixture
async def database(books: Books) -> AsyncIterator[Database]:
    async with Database(books.database.app_url) as database:
        yield database


@pytest.fixture
async def tenant(books: Books, past: History) -> UUID:
    """March of a tenant: 3 + 4 + 5 units of one meter at two rates, 2 of another, one event unbilled; 9 in April."""
    tenant, stranger = await books.new_tenant(), await books.new_tenant()
    await past.event(tenant, at("2026-03-01", "00:00"), 3, rate=1, quantity=30)
    await past.event(tenant, at("2026-03-15"), 4, rate=1, quantity=40)
    await past.event(tenant, at("2026-03-16"), 5, rate=2, quantity=50)
    await past.event(
        tenant, at("2026-04-01", "00:05"), 2, meter="characters", rate=None, upstream=None, period=MARCH
    )
    await past.event(tenant, at("2026-03-20"), 0, outcome="unbilled", due_units=8)
    await past.event(tenant, at("2026-04-02"), 9)
    await past.event(stranger, at("2026-03-15"), 100)
    return tenant


async def _statement(database: Database, tenant: UUID, name: str = "2026-03") -> Statement:
    async with database.snapshot(tenant) as session, session.begin():
        return await StatementRepository(session, tenant).statement(parse_period(name, Period.DAY))


def _lines(statement: Statement) -> list[tuple[Any, ...]]:
    return [
        (line.upstream, line.meter, line.rate, line.quantity, line.units, line.events)
        for line in statement_read(statement).lines
    ]


MARCHS_LINES = [
    (None, "characters", None, 1, 2, 1),
    ("摘要", "calls", 1, 70, 7, 2),
    ("摘要", "calls", 2, 50, 5, 1),
]


class TestBalanced:
    async def test_lines_add_up_to_the_counter_rolled_up_or_not(
        self, past: History, database: Database, tenant: UUID
    ):
        for until in (None, "2026-03-15", "2026-04-01", "2026-05-01"):
            if until:
                await past.roll(at(until))
            statement = await _statement(database, tenant)
            read = statement_read(statement)
            assert _lines(statement) == MARCHS_LINES
            assert (read.used, read.units, read.difference, read.balanced) == (14, 14, 0, True), until
            assert read.source == "events"
            assert read.differences == []
            assert [(line.events, line.due_units) for line in read.unbilled] == [(1, 8)]
        assert (await _statement(database, tenant, "2026-04")).units == 9

    async def test_a_period_without_anything_is_balanced(self, books: Books, database: Database):
        read = statement_read(await _statement(database, await books.new_tenant(), "2026-W10"))
        assert (read.used, read.units, read.balanced, read.lines) == (0, 0, True, [])

    async def test_all_periods_that_begin_within_it_are_added_up(
        self, books: Books, past: History, database: Database
    ):
        tenant = await books.new_tenant()
        for day in ("2026-03-02", "2026-03-08", "2026-03-09"):
            await past.event(tenant, at(day), 1, period=date.fromisoformat(day))
        for name, units in (("2026-W10", 2), ("2026-03", 3), ("2026-03-09", 1)):
            statement = await _statement(database, tenant, name)
            assert (statement.used, statement.units, statement.is_balanced) == (units, units, True)

    async def test_requests_that_run_meanwhile_never_make_it_look_off(self, books: Books, database: Database):
        tenant = await books.new_tenant(1_000_000)
        stop = asyncio.Event()

        async def spend(ledger: Ledger) -> None:
            while not stop.is_set():
                await ledger.settle((await hold(ledger, tenant, 3)).reservation, events(1, 2))

        async with Ledger(books.connect) as ledger, asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(spend(ledger))
            name = f"{(await hold(ledger, tenant, 1)).reservation.period_start:%Y-%m}"
            seen = [await _statement(database, tenant, name) for _ in range(30)]
            stop.set()
        assert all(statement.is_balanced for statement in seen)
        assert len({statement.units for statement in seen}) > 5

    async def test_grants_of_the_period_and_prepaid_units_are_shown(
        self, past: History, database: Database, tenant: UUID
    ):
        for kind, period, moment in (
            ("period", MARCH, at("2026-02-01")),
            ("period", APRIL, at("2026-03-02")),
            ("prepaid", None, at("2026-03-02")),
            ("prepaid", None, at("2026-04-01", "00:00")),
        ):
            await past.connection.execute(
                "insert into fanfold.grants values ($1, $2, $3, $4, 50, '赠送', $2, $5)", tenant, uuid7(), kind, period,
                moment,
            )  # fmt: skip
        await past.connection.execute(
            "update fanfold.quota_periods set prepaid = 6 where tenant_id = $1 and period_start = $2",
            tenant,
            MARCH,
        )
        read = statement_read(await _statement(database, tenant))
        assert [(grant.kind, grant.units, grant.reason) for grant in read.grants] == [
            ("period", 50, "赠送"), ("prepaid", 50, "赠送"),
        ]  # fmt: skip
        assert read.prepaid_drawn == 6


class TestOff:
    async def test_a_counter_that_was_changed_is_named(self, past: History, database: Database, tenant: UUID):
        await past.roll(at("2026-05-01"))
        await past.connection.execute(
            "update fanfold.quota_periods set used = used + 1 where tenant_id = $1 and period_start = $2",
            tenant,
            MARCH,
        )
        read = statement_read(await _statement(database, tenant))
        assert (read.balanced, read.used, read.units, read.difference) == (False, 15, 14, 1)
        assert [(d.place, d.period_start.date(), d.units, d.units_found) for d in read.differences] == [
            ("counter", MARCH, 14, 15)
        ]

    @pytest.mark.parametrize(
        "change", ["set units = units + 1", "set upstream = 'other'", "set quantity = 1"]
    )
    async def test_an_event_that_was_changed_is_named_by_its_day_and_line(
        self, past: History, database: Database, tenant: UUID, change: str
    ):
        await past.roll(at("2026-05-01"))
        await past.connection.execute(
            f"update fanfold.usage_events {change} where tenant_id = $1 and occurred_at = $2",
            tenant,
            at("2026-03-16"),
        )
        read = statement_read(await _statement(database, tenant))
        assert not read.balanced
        off = [d for d in read.differences if d.place == "daily_sums"]
        assert {(d.day, d.meter, d.rate) for d in off} == {(date(2026, 3, 16), "calls", 2)}
        assert read.difference == (-1 if "units" in change else 0)

    async def test_an_event_that_is_gone_is_missed(self, past: History, database: Database, tenant: UUID):
        await past.roll(at("2026-05-01"))
        await past.connection.execute(
            "delete from fanfold.usage_events where tenant_id = $1 and occurred_at = $2",
            tenant,
            at("2026-03-15"),
        )
        read = statement_read(await _statement(database, tenant))
        assert (read.balanced, read.difference) == (False, 4)
        (gone,) = [d for d in read.differences if d.place == "daily_sums"]
        assert (gone.day, gone.units, gone.units_found, gone.events, gone.events_found) == (
            date(2026, 3, 15), 0, 4, 0, 1,
        )  # fmt: skip


class TestAfterRetention:
    async def test_it_comes_from_the_daily_sums_and_says_so(
        self, past: History, database: Database, tenant: UUID
    ):
        await past.roll(at("2026-05-01"))
        now = utc_now()
        months = (now.year - 2026) * 12 + now.month - 3 - 1
        assert await past.connection.fetchval("select fanfold.usage_retention($1)", months) == MARCH
        statement = await _statement(database, tenant)
        assert _lines(statement) == MARCHS_LINES
        assert (statement.source, statement.is_balanced, statement.units) == ("daily_sums", True, 14)
        assert (await _statement(database, tenant, "2026-04")).source == "events"
        # What settles for that month even later is counted once, as an event and when it is rolled up.
        await past.event(tenant, at("2026-05-01", "12:30"), 1, period=MARCH)
        for until in (None, at("2026-05-01", "13:00")):
            if until:
                assert await past.roll(until) > 0
            late = await _statement(database, tenant)
            assert (late.units, late.is_balanced) == (15, True)
        await past.connection.execute(
            "update fanfold.quota_periods set used = 1 where tenant_id = $1", tenant
        )
        assert not (await _statement(database, tenant)).is_balanced


async def test_over_http(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), slug="a", units_per_call=2, units_per_1k_chars=3)
    await tenant.process("x" * 6, split={"size": 2})
    statement = (await tenant.http.get("/v1/usage/statement")).json()
    assert statement["balanced"] is True
    assert (statement["used"], statement["units"], statement["source"]) == (9, 9, "events")
    assert [(line["upstream"], line["units"], line["rate"]) for line in statement["lines"]] == [
        ("a", 6, 2), ("a", 3, 3),
    ]  # fmt: skip
    assert (await tenant.http.get(f"/v1/usage/statement?period={statement['period']}")).json() == statement


@pytest.mark.parametrize(
    "query", ["period=2026-13", "period=2026-W47", "period=x", "period=", "month=2026-11"]
)
async def test_over_http_refuses_what_is_no_period_of_the_plan(product, query: str):
    tenant = await product.tenant()
    answer = await tenant.http.get(f"/v1/usage/statement?{query}")
    assert answer.status_code == 422
    assert "2026-11" in answer.json()["detail"] or "month" in query


async def test_over_http_needs_its_scope(product):
    tenant = await product.tenant(scopes=["process"])
    for path in ("statement", "events", "export"):
        assert (await tenant.http.get(f"/v1/usage/{path}")).status_code == 403
