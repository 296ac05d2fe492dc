"""Events of other days, written as the superuser; the counters go with them, so that the books are right."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from fanfold.core.identifiers import uuid7
from tests.usage.books import Books

_EVENT = """
insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, upstream,
                                  quantity, api_key_id, occurred_at, rate, due_units)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_COUNTER = """
insert into fanfold.quota_periods (tenant_id, period_start, granted, ceiling, used) values ($1, $2, 1000000, null, $3)
on conflict (tenant_id, period_start) do update set used = fanfold.quota_periods.used + excluded.used
"""


def at(day: str, time: str = "12:00") -> datetime:
    """Return a moment, UTC."""
    return datetime.fromisoformat(f"{day}T{time}:00").replace(tzinfo=UTC)


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


class History:
    """Writes into the past, and rolls it up."""

    def __init__(self, connection: Any, books: Books) -> None:
        self.connection, self.books = connection, books

    async def event(
        self,
        tenant: UUID,
        moment: datetime,
        units: int = 1,
        *,
        upstream: str | None = "摘要",
        meter: str = "calls",
        period: date | None = None,
        api_key: UUID | None = None,
        outcome: str = "billed",
        quantity: int = 1,
        rate: int | None = 1,
        due_units: int = 0,
    ) -> UUID:
        """Write one event of a request of its own, and count it; returns the request's id."""
        request = uuid7()
        start = period or moment.date().replace(day=1)
        await self.connection.execute(
            _EVENT, tenant, request, 0, meter, start, units, outcome, upstream, quantity, api_key, moment, rate,
            due_units,
        )  # fmt: skip
        await self.connection.execute(_COUNTER, tenant, start, units)
        return request

    async def roll(self, until: datetime) -> int:
        """Roll up every whole hour before `until`; returns how many."""
        hours = 0
        while await self.connection.fetchval("select fanfold.usage_roll($1)", until):
            hours += 1
        return hours

    async def partition(self, month: date) -> None:
        await self.connection.execute("set role fanfold_owner")
        await self.connection.execute("select fanfold.usage_partitions($1, 1)", month)
        await self.connection.execute("reset role")


@asynccontextmanager
async def history(books: Books) -> AsyncIterator[History]:
    async with books.superuser() as connection:
        yield History(connection, books)
