"""The ledger as a superuser sees it: every truth of it in one statement, so in one snapshot."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fanfold.usage.sweeper import Sweeper
from tests.fixtures.database import TestDatabase, connect

_TRUTHS = """
select q.tenant_id, q.reserved, q.used, q.prepaid, q.ceiling, q.granted,
       (select coalesce(sum(r.units), 0)::bigint from fanfold.reservations r
         where r.tenant_id = q.tenant_id and r.period_start = q.period_start) as held,
       (select coalesce(sum(e.units), 0)::bigint from fanfold.usage_events e
         where e.tenant_id = q.tenant_id and e.period_start = q.period_start) as billed,
       coalesce((select b.drawn from fanfold.prepaid_balances b where b.tenant_id = q.tenant_id), 0) as drawn,
       coalesce((select sum(g.units)::bigint from fanfold.grants g
                  where g.tenant_id = q.tenant_id and g.period_start is null), 0) as prepaid_granted,
       (select count(*) from fanfold.key_periods k
         where k.tenant_id = q.tenant_id and k.period_start = q.period_start
           and (k.reserved + k.used > k.granted
                or k.reserved <> (select coalesce(sum(r.units), 0) from fanfold.reservations r
                                   where r.tenant_id = k.tenant_id and r.period_start = k.period_start
                                     and r.api_key_id = k.api_key_id)
                or k.used <> (select coalesce(sum(e.units), 0) from fanfold.usage_events e
                               where e.tenant_id = k.tenant_id and e.period_start = k.period_start
                                 and e.api_key_id = k.api_key_id))) as wrong_keys
  from fanfold.quota_periods q where q.tenant_id = any ($1)
"""

_ENDED = "select count(*) from fanfold.reservations where tenant_id = any ($1) and expires_at < now()"
_SWEPT_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Truth:
    """One tenant's sums at one moment, in its only period: as kept in its counters, and as its rows add up."""

    tenant_id: UUID
    reserved: int
    used: int
    prepaid: int
    ceiling: int | None
    granted: int
    held: int
    billed: int
    drawn: int
    prepaid_granted: int
    wrong_keys: int

    @property
    def holds(self) -> bool:
        taken = self.reserved + self.used
        return (
            self.reserved == self.held
            and self.used == self.billed
            and self.reserved >= 0
            and self.prepaid == self.drawn <= self.prepaid_granted
            and self.wrong_keys == 0
            and (self.ceiling is None or taken - self.prepaid <= self.ceiling == self.granted)
        )


class Books:
    """Reads everything, and lets leases end. Many may ask at once."""

    def __init__(self, connection: Any, database: TestDatabase) -> None:
        self._connection, self._database = connection, database
        self._lock = asyncio.Lock()

    async def truths(self, tenants: Sequence[UUID]) -> list[Truth]:
        return [Truth(**row) for row in await self._rows(_TRUTHS, list(tenants))]

    async def truth(self, tenant: UUID) -> Truth:
        (only,) = await self.truths([tenant])
        return only

    async def events(self, tenant: UUID) -> list[Any]:
        return await self._rows("select * from fanfold.usage_events where tenant_id = $1", tenant)

    async def billed(self, tenant: UUID, request: UUID | None = None) -> int:
        """Return the units of all requests, or of one."""
        return int(
            await self._value(
                "select coalesce(sum(units), 0) from fanfold.usage_events "
                "where tenant_id = $1 and ($2::uuid is null or request_id = $2)",
                tenant,
                request,
            )
        )

    async def reservations(self, tenants: Sequence[UUID]) -> int:
        return int(
            await self._value(
                "select count(*) from fanfold.reservations where tenant_id = any ($1)", list(tenants)
            )
        )

    async def held(self, tenants: Sequence[UUID]) -> set[UUID]:
        """Return the requests that hold units."""
        rows = await self._rows(
            "select id from fanfold.reservations where tenant_id = any ($1)", list(tenants)
        )
        return {row["id"] for row in rows}

    async def held_since(self, tenants: Sequence[UUID], moment: datetime, *, lease_s: float) -> int:
        """Return how many reservations were made after `moment`, if each has a lease of `lease_s`."""
        return int(
            await self._value(
                "select count(*) from fanfold.reservations where tenant_id = any ($1) and expires_at > $2",
                list(tenants),
                moment + timedelta(seconds=lease_s),
            )
        )

    async def grant_prepaid(self, tenant: UUID, units: int) -> None:
        await self._rows(
            "insert into fanfold.grants (tenant_id, id, kind, units, reason, granted_by) "
            "values ($1, $1, 'prepaid', $2, '预付', $1)",
            tenant,
            units,
        )

    async def outcomes(self, tenants: Sequence[UUID]) -> list[Any]:
        """Return the requests that nobody told the end of, or that could not be billed, and are not resolved."""
        return await self._rows(
            "select * from fanfold.outcomes where tenant_id = any ($1) and resolved_at is null", list(tenants)
        )

    async def resolve(self, outcome: Any, word: str, units: int) -> str:
        """End an outcome as an operator does."""
        arguments = (outcome["tenant_id"], outcome["request_id"], word, units, "核对过", outcome["tenant_id"])
        return str(await self._value("select fanfold.outcome_resolve($1, $2, $3, $4, $5, $6)", *arguments))

    async def holders(self, tenant: UUID) -> set[UUID]:
        """Return the requests that hold a tenant's idempotency keys."""
        rows = await self._rows(
            "select request_id from fanfold.idempotency_keys where tenant_id = $1", tenant
        )
        return {row["request_id"] for row in rows}

    async def now(self) -> datetime:
        moment: datetime = await self._value("select clock_timestamp()")
        return moment

    async def messages(self, tenant: UUID) -> int:
        """Return how many messages of a tenant the outbox has."""
        return int(await self._value("select count(*) from fanfold.outbox where tenant_id = $1", tenant))

    async def end_leases(self, tenants: Sequence[UUID]) -> None:
        """Let every lease of these tenants end now."""
        await self._rows(
            "update fanfold.reservations set expires_at = now() - interval '1 s' where tenant_id = any ($1)",
            list(tenants),
        )

    async def sweep_as_if_later(self, tenants: Sequence[UUID]) -> int:
        """Let every lease of these tenants end now, and sweep; returns how many this has swept.

        A server's own sweeper may be at it in that moment: then this one waits for its end.
        """
        await self.end_leases(tenants)
        sweeper = Sweeper(lambda: connect(self._database.app_url))
        swept = 0
        try:
            async with asyncio.timeout(_SWEPT_WITHIN_S):
                while await self._value(_ENDED, list(tenants)):
                    swept += await sweeper.sweep()
            return swept
        finally:
            await sweeper.close()

    async def sessions(self) -> dict[str, int]:
        """Return how many connections the serving role has, by state."""
        rows = await self._rows(
            "select state, count(*) as count from pg_stat_activity "
            "where datname = current_database() and usename = 'fanfold_app' group by state"
        )
        return {row["state"]: row["count"] for row in rows}

    async def _rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self._lock:
            found: list[Any] = await self._connection.fetch(query, *arguments)
        return found

    async def _value(self, query: str, *arguments: Any) -> Any:
        async with self._lock:
            return await self._connection.fetchval(query, *arguments)


@asynccontextmanager
async def open_books(database: TestDatabase) -> AsyncIterator[Books]:
    connection = await connect(database.superuser_url)
    try:
        yield Books(connection, database)
    finally:
        await connection.close()
