"""What the group commit is worth: pairs of reserve and settle a second, against one transaction for each operation.

Both ways call the same function on the same Postgres with fsync on, in turns within one run, so the ratio is what to
read: the figures themselves are this machine's.

    python -m benchmarks.ledger [--seconds 1] [--rounds 3]
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from fanfold.core.embedded_postgres import OWNER, EmbeddedPostgres
from fanfold.core.identifiers import uuid7
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.items import Item, Operation
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import UsageEvent

CALLERS = (1, 50)
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


async def compare(dsn: str, *, seconds: float, rounds: int) -> Table:
    """Measure both ways in turns, for each number of callers."""
    table = Table(title="reserve + settle, one hot tenant, one usage event; median of the rounds")
    for column in ("callers", "group commit /s", "p50 ms", "a transaction each /s", "p50 ms", "ratio"):
        table.add_column(column, justify="right")

    async def connect() -> Any:
        return await asyncpg.connect(dsn)

    async with (
        asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
        Ledger(connect) as ledger,
    ):
        async with pool.acquire() as connection:
            tenant = await new_tenant(connection)
        for callers in CALLERS:
            ways = Way("group", group_commit(ledger)), Way("each", transaction_each(pool))
            for way in ways:
                await measure(Way("warm up", way.pair), tenant, callers, seconds / 4)
            for _ in range(rounds):
                for way in ways:
                    await measure(way, tenant, callers, seconds)
            ours, theirs = ways
            table.add_row(
                str(callers), f"{ours.rate:,.0f}", f"{ours.p50_ms:.2f}",
                f"{theirs.rate:,.0f}", f"{theirs.p50_ms:.2f}", f"{ours.rate / theirs.rate:.1f} x",
            )  # fmt: skip
    return table


def main(seconds: float = 1.0, rounds: int = 3) -> None:
    """Compare the group commit with a transaction for each operation."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "data") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        dsn = postgres.url(user=APP).replace("postgresql+asyncpg://", "postgresql://")
        Console().print(asyncio.run(compare(dsn, seconds=seconds, rounds=rounds)))


if __name__ == "__main__":
    typer.run(main)
