"""The dangers to jobs when Postgres goes away in the middle of them: answers lost, calls paid twice, no end."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanfold.core.embedded_postgres import OWNER, SUPERUSER, EmbeddedPostgres
from fanfold.core.migrations import migrate
from fanfold.core.roles import APP
from fanfold.jobs.lane import JobLane
from tests.chaos.test_jobs import SAFETY_S, Crowd
from tests.chaos.test_outage import killed, stopped
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.fixtures.figures import Figures
from tests.fixtures.server_processes import WorkerProcess, start_together
from tests.usage.books import Books

OUTAGE_S = 2
# Longer than the outages: the jobs stay the worker's, and what is in its hands is written afterwards.
LEASE_S = 60


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "server") as postgres:
        migrate(postgres.url(user=OWNER), app_url=postgres.url(user=APP))
        yield postgres


@pytest.fixture
def database(own_server: EmbeddedPostgres) -> TestDatabase:
    return TestDatabase("fanfold", *(own_server.url(user=user) for user in (OWNER, APP, SUPERUSER)))


@pytest.fixture
def worker(database: TestDatabase, tmp_path: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess(database, tmp_path / "worker.log", jobs_lease_s=LEASE_S)
    try:
        yield process
    finally:
        process.stop()


@pytest.mark.proof
async def test_postgres_restarted_in_the_middle_of_jobs(
    own_server: EmbeddedPostgres, database: TestDatabase, worker: WorkerProcess, figures: Figures
):
    books = Books(database)
    async with (
        asyncio.timeout(SAFETY_S),
        running_product(database, product_settings(database)) as product,
        JobLane(books.connect) as lane,
    ):
        crowd = Crowd(product, lane, books)
        await crowd.make(tenants=2, jobs=4, chunks=100, ms=100)
        await asyncio.to_thread(start_together, worker)
        for moment, way in ((40, stopped), (200, killed)):
            await crowd.until_done(moment)
            await asyncio.to_thread(way, own_server)
            await asyncio.sleep(OUTAGE_S)
            await asyncio.to_thread(own_server.start)
        rows = await crowd.until_ended()
        assert {row["status"] for row in rows} == {"succeeded"}
        assert all(row["successful"] == 100 for row in rows)
        sums = await crowd.audit()
        assert (sums.served, sums.billed, sums.outcomes) == (400, 400, 0)
        assert await crowd.paid_twice() == 0
    assert await asyncio.to_thread(worker.stop) == 0
    figures(
        f"jobs over two restarts of Postgres: served {sums.served}, billed {sums.billed}, unknown {sums.outcomes}; "
        "paid twice 0"
    )
