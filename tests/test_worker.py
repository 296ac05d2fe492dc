"""`fanfold worker` as a process: what it owes to who starts and stops it."""

import asyncio
import gc
import signal

from fanfold.worker import run_worker
from tests.fixtures.app import product_settings
from tests.fixtures.database import TestDatabase


async def test_collects_seldom_while_it_works_and_ends_when_it_is_told(own_database: TestDatabase):
    before = gc.get_threshold()
    working = asyncio.create_task(run_worker(product_settings(own_database)))
    async with asyncio.timeout(120):
        while gc.get_threshold() == before and not working.done():
            await asyncio.sleep(0.01)
        assert gc.get_freeze_count() > 100_000
        signal.raise_signal(signal.SIGTERM)
        await working
    assert gc.get_threshold() == before
