"""What stands beside our latency is two commits a time, each of them durable."""

from pathlib import Path

import asyncpg

from benchmarks.comparison.commits import TIMES, two_commits_ms
from fanfold.core.blocking import run_blocking
from fanfold.core.embedded_postgres import SUPERUSER, EmbeddedPostgres


def test_two_changes_are_committed_each_time(tmp_path: Path):
    async def number() -> tuple[int, str]:
        connection = await asyncpg.connect(postgres.url(user=SUPERUSER).replace("+asyncpg", ""))
        try:
            return (
                await connection.fetchval("select number from public.commits"),
                await connection.fetchval("show synchronous_commit"),
            )
        finally:
            await connection.close()

    with EmbeddedPostgres(tmp_path / "data") as postgres:
        assert two_commits_ms(tmp_path / "data") > 0
        assert run_blocking(number()) == (2 * TIMES, "on")
