"""What operators watch of jobs, as Postgres counts it, as `/metrics` shows it, and as the doctor reads it."""

from typing import Any

import pytest

from fanfold.jobs.figures import STALE_S, Figures, read_figures
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect
from tests.jobs.fake_worker import fake_worker, make_dead_job, make_job


async def test_they_are_counted_over_all_tenants(own_database: TestDatabase):
    async with running_product(own_database, product_settings(own_database)) as product:
        assert await read_figures(product.app.state.database) == Figures()
        one, two = await product.tenant(), await product.tenant()
        await make_job(product, one)
        await make_job(product, one)
        await make_dead_job(product, two)
        async with fake_worker(product, one) as worker:
            await worker.take()
            await _make_due(own_database, 100)
            found = await read_figures(product.app.state.database)
            assert (found.queued, found.running, found.dead, found.workers) == (1, 1, 1, 1)
            assert found.turns == 2  # one for each tenant
            assert 100 <= found.oldest_s < 200
            assert not found.nobody_works
            await worker.leave("next")
        found = await read_figures(product.app.state.database)
        assert (found.running, found.workers, found.nobody_works) == (1, 0, True)
        await product.app.state.job_figures.work()
        await _are_shown(product)


async def _make_due(database: TestDatabase, ago_s: int) -> None:
    connection = await connect(database.superuser_url)
    try:
        moment = f"now() - interval '{ago_s} seconds'"
        await connection.execute(f"update fanfold.pgqueuer set execute_after = {moment}")
    finally:
        await connection.close()


async def _are_shown(product: Product) -> None:
    metrics = (await (await product.operator()).get("/metrics")).text
    shown: dict[str, Any] = dict(
        line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#")
    )
    assert shown["fanfold_jobs_queued"] == "1.0"
    assert shown["fanfold_jobs_dead"] == "1.0"
    assert shown["fanfold_job_turns_waiting"] == "2.0"
    assert float(shown["fanfold_job_turns_oldest_seconds"]) >= 100
    assert shown["fanfold_job_workers"] == "0.0"
    assert shown["fanfold_jobs_watched"] == "0.0"


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (Figures(), False),
        (Figures(oldest_s=STALE_S + 1), True),
        (Figures(oldest_s=STALE_S - 1), False),
        (Figures(oldest_s=STALE_S + 1, workers=1), False),
    ],
)
def test_nobody_works_where_turns_wait_and_no_worker_has_one(figures: Figures, expected: bool):
    assert figures.nobody_works is expected
