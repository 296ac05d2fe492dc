"""What the group commit is worth: pairs of reserve and settle a second, against one transaction for each operation.

Three ways on the same Postgres with fsync on, in turns within one run, so the ratios are what to read: the figures
themselves are this machine's. "each": the same function, a call and a commit for each operation. "by hand": what one
would write at first, plain statements in a transaction, as a role that no row-level security slows down. Both have 20
connections.

    python -m benchmarks.ledger [--seconds 3] [--rounds 3]
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres
from fanfold.core.identifiers import uuid7
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.items import Item, Operation
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import UsageEvent

CALLERS = (1, 50, 1_000)
CONNECTIONS = 20
EVENTS = [UsageEvent(call_index=0, meter="calls", units=1, quantity=1, upstream="summarize")]

Pair = Callable[[UUID], Awaitable[None]]


@dataclass
class Way:
    """One way to reserve and settle, and what it did in each round."""

    name: str
    pair: Pair
    rates: list[float] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.times_ms)


def group_commit(ledger: Ledger) -> Pair:
    """Every caller shares the ledger's one lane."""

    async def pair(tenant: UUID) -> None:
        held = await ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=1, lease_s=60)
        await ledger.settle(held.reservation, EVENTS)

    return pair


def transaction_each(pool: Any) -> Pair:
    """Every operation is a call and a commit of its own, on one of 20 connections."""

    async def call(operation: Operation, tenant: UUID, request: UUID, **rest: Any) -> None:
        period = period_of(utc_now())
        item = Item(operation=operation, tenant_id=tenant, request_id=request, period_start=period, **rest)
        await pool.fetchrow(COMMIT, *encode([item]))

    async def pair(tenant: UUID) -> None:
        request = uuid7()
        await call(Operation.RESERVE, tenant, request, units=1, lease_s=60.0)
        await call(Operation.SETTLE, tenant, request, events=EVENTS)

    return pair


BY_HAND = {
    "take": "update fanfold.quota_periods set reserved = reserved + 1 where tenant_id = $1 and period_start = $2 "
    "and reserved + used + 1 <= ceiling",
    "hold": "insert into fanfold.reservations (tenant_id, id, period_start, units, expires_at) "
    "values ($1, $2, $3, 1, now() + interval '1 minute')",
    "free": "delete from fanfold.reservations where tenant_id = $1 and id = $2",
    "bill": "update fanfold.quota_periods set reserved = reserved - 1, used = used + 1 "
    "where tenant_id = $1 and period_start = $2",
    "keep": "insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, "
    "quantity) values ($1, $2, 0, 'calls', $3, 1, 'billed', 1)",
}


def by_hand(pool: Any) -> Pair:
    """A reserve and a settle as plain statements, each in a transaction of its own."""

    async def pair(tenant: UUID) -> None:
        request, period = uuid7(), period_of(utc_now())
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(BY_HAND["take"], tenant, period)
            await connection.execute(BY_HAND["hold"], tenant, request, period)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(BY_HAND["free"], tenant, request)
            await connection.execute(BY_HAND["bill"], tenant, period)
            await connection.execute(BY_HAND["keep"], tenant, request, period)

    return pair


async def measure(way: Way, tenant: UUID, callers: int, seconds: float) -> None:
    """Run `callers` closed loops for `seconds`."""
    end = time.perf_counter() + seconds

    async def call() -> int:
        count = 0
        while (start := time.perf_counter()) < end:
            await way.pair(tenant)
            way.times_ms.append((time.perf_counter() - start) * 1000)
            count += 1
        return count

    counts = await asyncio.gather(*(call() for _ in range(callers)))
    way.rates.append(sum(counts) / seconds)


async def new_tenant(connection: Any) -> UUID:
    """Make a tenant that never runs out of units."""
    tenant = uuid7()
    async with connection.transaction():
        await connection.execute("set local role fanfold_operator")
        await connection.execute(
            "insert into fanfold.tenants (id, slug, name, plan, limit_overrides) "
            "values ($1, 'bench', 'bench', 'scale', '{\"monthly_units\": 1000000000000}')",
            tenant,
        )
    return tenant


def new_table() -> Table:
    """Return the table to fill: a line for each number of callers."""
    table = Table(
        title="reserve + settle, one hot tenant, one usage event; pairs a second, median of the rounds"
    )
    for column in (
        "callers",
        "group commit",
        "p50 ms",
        "each",
        "p50 ms",
        "ratio",
        "by hand",
        "p50 ms",
        "ratio",
    ):
        table.add_column(column, justify="right")
    return table


def line(callers: int, ours: Way, *others: Way) -> list[str]:
    """Return one line of the table."""
    cells = [f"{callers:,}", f"{ours.rate:,.0f}", f"{ours.p50_ms:.2f}"]
    for other in others:
        cells += [f"{other.rate:,.0f}", f"{other.p50_ms:.2f}", f"{ours.rate / other.rate:.1f} x"]
    return cells


Ways = tuple[Way, Way, Way]


async def measured(
    dsn: str, by_hand_dsn: str, *, callers: Sequence[int], seconds: float, rounds: int
) -> dict[int, Ways]:
    """Measure all ways in turns, for each number of callers: the group commit, a transaction each, by hand."""

    async def connect() -> Any:
        return await asyncpg.connect(dsn)

    found: dict[int, Ways] = {}
    async with (
        asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
        asyncpg.create_pool(by_hand_dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as owners,
        Ledger(connect) as ledger,
    ):
        async with pool.acquire() as connection:
            tenant = await new_tenant(connection)
        for many in callers:
            ways = (
                Way("group", group_commit(ledger)),
                Way("each", transaction_each(pool)),
                Way("hand", by_hand(owners)),
            )
            for way in ways:
                await measure(Way("warm up", way.pair), tenant, many, seconds / 4)
            for _ in range(rounds):
                for way in ways:
                    await measure(way, tenant, many, seconds)
            found[many] = ways
    return found


def run(*, callers: Sequence[int] = CALLERS, seconds: float = 3.0, rounds: int = 3) -> dict[int, Ways]:
    """Measure on a Postgres of its own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "data") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        dsn = postgres.url(user=APP).replace("postgresql+asyncpg://", "postgresql://")
        superuser = postgres.url(user=SUPERUSER).replace("postgresql+asyncpg://", "postgresql://")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the server's
            return runner.run(measured(dsn, superuser, callers=callers, seconds=seconds, rounds=rounds))


def main(seconds: float = 3.0, rounds: int = 3) -> None:
    """Compare the group commit with a transaction for each operation."""
    table = new_table()
    for callers, ways in run(seconds=seconds, rounds=rounds).items():
        table.add_row(*line(callers, *ways))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
