"""A worker beside whatever else its process does: from the start until it has stopped in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fanfold.core.crypto import KeyRing
from fanfold.core.db import STATEMENT_TIMEOUT_S, Database
from fanfold.core.identifiers import uuid7
from fanfold.fanout.service import FanOut
from fanfold.jobs.calls import Tools
from fanfold.jobs.lane import JobLane
from fanfold.jobs.queue_upkeep import QueueUpkeep
from fanfold.jobs.taken import Claiming
from fanfold.jobs.turn_repository import TurnRepository
from fanfold.jobs.worker import JobWorker
from fanfold.upstreams.directory import UpstreamDirectory

# To record what was answered, once calls are broken off: as long as the lane tries, and a little more.
RECORD_S = 20.0
_CONNECT_S = 5.0


@dataclass(slots=True)
class Stop:
    """When to stop: who ends the process sets `begun`, who cannot wait `hurry`; `grace_s` lies between the two."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    grace_s: float = 30.0


def make_worker(  # noqa: PLR0913 (keywords: what it works with)
    *,
    database: Database,
    lane: JobLane,
    fan_out: FanOut,
    upstreams: UpstreamDirectory,
    key_ring: KeyRing,
    at_once: int,
    lease_s: float,
    most_of_a_tenant: int,
    count_calls: Callable[[str, int], None],
) -> JobWorker:
    """Return a worker of this process, which works on at most `at_once` jobs together."""
    tools = Tools(
        repository=TurnRepository(database),
        lane=lane,
        fan_out=fan_out,
        upstreams=upstreams,
        key_ring=key_ring,
        claiming=Claiming(worker_id=uuid7(), lease_s=lease_s, most=most_of_a_tenant),
        count_calls=count_calls,
    )
    return JobWorker(tools, lambda: _connected(database), at_once=at_once)


async def _connected(database: Database) -> object:
    return await database.connect(
        timeout=_CONNECT_S,
        command_timeout=STATEMENT_TIMEOUT_S + 1,
        server_settings={"statement_timeout": str(int(STATEMENT_TIMEOUT_S * 1000))},
    )


@asynccontextmanager
async def running_worker(worker: JobWorker, database: Database, stop: Stop) -> AsyncIterator[None]:
    """Run the worker, and the upkeep of its queue, while the body runs; then stop it.

    From `stop.begun` on it takes nothing new; its jobs have `stop.grace_s` for the parts they are at, and none of it
    where `stop.hurry` is set or the body ends without `begun`.
    """
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(worker.run())
        stopping = tasks.create_task(_stopped(worker, stop))
        upkeep = tasks.create_task(QueueUpkeep(database).run())
        try:
            yield
        finally:
            if not stop.begun.is_set():
                stop.hurry.set()
                stop.begun.set()
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=RECORD_S)
            for task in (running, stopping, upkeep):
                task.cancel()


async def _stopped(worker: JobWorker, stop: Stop) -> None:
    await stop.begun.wait()
    worker.stop()
    try:
        async with asyncio.timeout(stop.grace_s):
            await stop.hurry.wait()
    except TimeoutError:
        pass
    worker.cut_off()
