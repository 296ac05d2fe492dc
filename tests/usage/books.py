"""The ledger's books as a test sees them: tenants made, rows read as an operator, truths checked."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from fanfold.core.identifiers import uuid7
from fanfold.usage.errors import Insufficient
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Reservation, Reserved, Settled, UsageEvent
from tests.fixtures.database import TestDatabase, connect

# What no row may be found by.
TRUTHS = {
    "quota": """
        select q.tenant_id from fanfold.quota_periods q
         where q.tenant_id = any ($1)
           and (q.reserved <> (select coalesce(sum(r.units), 0) from fanfold.reservations r
                                where r.tenant_id = q.tenant_id and r.period_start = q.period_start)
             or q.used <> (select coalesce(sum(e.units), 0) from fanfold.usage_events e
                            where e.tenant_id = q.tenant_id and e.period_start = q.period_start)
             or q.prepaid > 0 and q.ceiling is null
             or q.reserved + q.used - q.prepaid > q.ceiling)
        """,
    "prepaid": """
        select t.id from fanfold.tenants t
          left join fanfold.prepaid_balances b on b.tenant_id = t.id
         where t.id = any ($1)
           and coalesce(b.drawn, 0) <> (select coalesce(sum(q.prepaid), 0) from fanfold.quota_periods q
                                         where q.tenant_id = t.id)
        """,
    "keys": """
        select k.api_key_id from fanfold.key_periods k
         where k.tenant_id = any ($1)
           and (k.reserved <> (select coalesce(sum(r.units), 0) from fanfold.reservations r
                                where r.tenant_id = k.tenant_id and r.period_start = k.period_start
                                  and r.api_key_id = k.api_key_id)
             or k.used <> (select coalesce(sum(e.units), 0) from fanfold.usage_events e
                            where e.tenant_id = k.tenant_id and e.period_start = k.period_start
                              and e.api_key_id = k.api_key_id)
             or k.reserved + k.used > k.ceiling)
        """,
}


def events(*units: int) -> list[UsageEvent]:
    """Return one event a call, with these units."""
    return [
        UsageEvent(call_index=index, meter="calls", units=price, quantity=1, upstream="摘要")
        for index, price in enumerate(units)
    ]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection that is closed again, also where the test fails."""
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@dataclass(frozen=True)
class Books:
    """Opens connections as the serving role, and reads all tenants' rows under the operator's."""

    database: TestDatabase

    async def connect(self) -> Any:
        return await connect(self.database.app_url)

    def app(self) -> AbstractAsyncContextManager[Any]:
        return connected(self.database.app_url)

    def owner(self) -> AbstractAsyncContextManager[Any]:
        return connected(self.database.owner_url)

    def superuser(self) -> AbstractAsyncContextManager[Any]:
        return connected(self.database.superuser_url)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Any]:
        async with self.app() as connection, connection.transaction():
            await connection.execute("set local role fanfold_operator")
            yield connection

    async def new_tenant(self, units: int = 100, *, overage: bool = False) -> UUID:
        """Make a tenant on plan free whose overrides give it `units` a month."""
        tenant = uuid7()
        async with self.operator() as connection:
            await connection.execute(
                "insert into fanfold.tenants (id, slug, name, plan, limit_overrides) "
                "values ($1, $2, '租户', 'free', jsonb_build_object('monthly_units', $3::bigint, "
                "'overage_allowed', $4::boolean))",
                tenant, f"t-{tenant}", units, overage,
            )  # fmt: skip
        return tenant

    async def change_limit(self, tenant: UUID, units: int) -> None:
        async with self.operator() as connection:
            await connection.execute(
                "update fanfold.tenants set limit_overrides = limit_overrides || "
                "jsonb_build_object('monthly_units', $2::bigint) where id = $1",
                tenant, units,
            )  # fmt: skip

    async def change_overage(self, tenant: UUID, *, allowed: bool) -> None:
        async with self.operator() as connection:
            await connection.execute(
                "update fanfold.tenants set limit_overrides = limit_overrides || "
                "jsonb_build_object('overage_allowed', $2::boolean) where id = $1",
                tenant, allowed,
            )  # fmt: skip

    async def grant(self, tenant: UUID, units: int, *, period: date | None = None) -> None:
        """Grant units for a period, or prepaid ones."""
        async with self.operator() as connection:
            await connection.execute(
                "insert into fanfold.grants (tenant_id, id, kind, period_start, units, reason, granted_by) "
                "values ($1, $2, $3, $4, $5, '补偿', $2)",
                tenant, uuid7(), "prepaid" if period is None else "period", period, units,
            )  # fmt: skip

    async def new_key(self, tenant: UUID, budget: int | None = None) -> UUID:
        """Make an API key of the tenant that may spend `budget` units a period."""
        key = uuid7()
        async with self.superuser() as connection:
            await connection.execute(
                "insert into fanfold.api_keys (tenant_id, id, name, public_id, digest, scopes, budget_units) "
                "values ($1, $2, '钥匙', 'x', $3, '{process}', $4)",
                tenant, key, key.bytes, budget,
            )  # fmt: skip
        return key

    async def change_budget(self, key: UUID, budget: int | None) -> None:
        async with self.superuser() as connection:
            await connection.execute(
                "update fanfold.api_keys set budget_units = $2 where id = $1", key, budget
            )

    async def warnings(self, tenant: UUID) -> list[tuple[str, int, int, int]]:
        """Return what the outbox tells of a tenant's quotas and budgets: holder, level, used, limit."""
        async with self.superuser() as connection:
            rows = await connection.fetch(
                "select payload::json as payload from fanfold.outbox where tenant_id = $1 order by created_at, id",
                tenant,
            )
        told = [json.loads(row["payload"]) for row in rows]
        return [(one["holder"], one["level"], one["used"], one["limit"]) for one in told]

    async def sweep(self) -> int:
        async with self.app() as connection:
            swept: int = await connection.fetchval("select fanfold.ledger_sweep(1000)")
        return swept

    async def resolve(self, reservation: Reservation, resolution: str, units: int) -> str:
        """Resolve an open outcome as an operator does; returns the function's word."""
        async with self.app() as connection:
            word: str = await connection.fetchval(
                "select fanfold.outcome_resolve($1, $2, $3, $4, '核对过', $2)",
                reservation.tenant_id, reservation.request_id, resolution, units,
            )  # fmt: skip
        return word

    async def rows(self, table: str, tenant: UUID) -> list[Any]:
        async with self.operator() as connection:
            found: list[Any] = await connection.fetch(
                f"select * from fanfold.{table} where tenant_id = $1", tenant
            )
        return found

    async def quota(self, tenant: UUID, period: date | None = None) -> Any:
        rows = await self.rows("quota_periods", tenant)
        return next(row for row in rows if period in {None, row["period_start"]})

    async def expire(self, tenant: UUID) -> None:
        """Let every lease of the tenant end now; the serving role could not."""
        async with self.superuser() as connection:
            await connection.execute(
                "update fanfold.reservations set expires_at = now() - interval '1 s' where tenant_id = $1",
                tenant,
            )

    async def check_truths(self, *tenants: UUID) -> None:
        """Every counter is the sum of its rows, for tenants and keys, and no ceiling is passed."""
        async with self.operator() as connection:
            for name, truth in TRUTHS.items():
                assert not await connection.fetch(truth, list(tenants)), name


async def hold(ledger: Ledger, tenant: UUID, units: int = 1, *, lease_s: float = 60, **rest: Any) -> Reserved:
    """Reserve under a new request id."""
    return await ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=units, lease_s=lease_s, **rest)


async def spend(ledger: Ledger, tenant: UUID, units: int, **rest: Any) -> Settled:
    """Reserve units and bill all of them."""
    held = await hold(ledger, tenant, units, **rest)
    return await ledger.settle(held.reservation, events(units))


async def try_to_hold(ledger: Ledger, tenant: UUID, units: int = 1) -> Reservation | Insufficient:
    """Reserve, or return why the units do not fit."""
    try:
        return (await hold(ledger, tenant, units)).reservation
    except Insufficient as refusal:
        return refusal


async def hold_at_once(
    ledgers: Sequence[Ledger], tenant: UUID, *, times: int, units: int = 1
) -> tuple[list[Reservation], list[Insufficient]]:
    """Reserve `times` times through each of the ledgers at once; return what was granted, and the refusals."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(try_to_hold(ledger, tenant, units)) for _ in range(times) for ledger in ledgers
        ]
    results = [task.result() for task in tasks]
    granted = [result for result in results if isinstance(result, Reservation)]
    return granted, [result for result in results if isinstance(result, Insufficient)]
