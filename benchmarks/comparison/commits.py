"""What two durable commits take by themselves, through asyncpg as the ledger's do: a part of what a request adds."""

import asyncio
import statistics
import time
from pathlib import Path

import asyncpg
import uvloop

from fanfold.core.embedded_postgres import SUPERUSER, EmbeddedPostgres

TIMES = 300
_TIMEOUT_S = 30
_TABLE = "create table if not exists public.commits as select 0 as number"
_CHANGE = "update public.commits set number = number + 1"


def two_commits_ms(data_dir: Path) -> float:
    """Return the median of two changes of one row, each a commit, over the socket of the Postgres in `data_dir`."""
    with EmbeddedPostgres(data_dir) as postgres, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_median_ms(postgres.url(user=SUPERUSER)))


async def _median_ms(url: str) -> float:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=_TIMEOUT_S)
    try:
        await connection.execute(_TABLE, timeout=_TIMEOUT_S)
        change = await connection.prepare(_CHANGE, timeout=_TIMEOUT_S)
        times_ms = []
        for _ in range(TIMES):
            began = time.perf_counter()
            for _ in range(2):
                await change.fetch(timeout=_TIMEOUT_S)
            times_ms.append(1000 * (time.perf_counter() - began))
        return statistics.median(times_ms)
    finally:
        await connection.close(timeout=_TIMEOUT_S)
