"""What a job's calls have answered, on its way into the job's rows: in batches, one under way at a time."""

import asyncio
from collections import deque
from contextlib import suppress

from fanfold.jobs.lane import JobLane
from fanfold.jobs.taken import JobLost
from fanfold.jobs.types import JobReference, RecordedCall
from fanfold.usage.items import LARGE_EVENTS

# With their bytes they are a large flush (`usage.items`), which has a lane of its own.
MAX_RESULTS = LARGE_EVENTS
MAX_BYTES = 1_000_000
# A commit costs as much as some thirty results do: the first that waits lets others come.
GATHER_S = 0.1


class Recorder:
    """Records results as they come; who adds one while it `is_full` has to wait for `room` before.

    It is full while as much waits as may. `job` may be set anew before anything is added.
    """

    def __init__(self, lane: JobLane, job: JobReference, *, gather_s: float = GATHER_S) -> None:
        self.job = job
        self._gather_s = gather_s
        self._lane = lane
        self._waiting: deque[RecordedCall] = deque()
        self._bytes = 0
        self.is_full = False
        self._is_writing = False
        self._under_way: asyncio.Future[bool] | None = None
        self._came, self._due, self._went = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._urging = 0

    async def run(self) -> None:
        """Write until cancelled. Raises `JobLost` where the job is another's by now, NotReady, Rejected."""
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            await self._gathered()
            await self._write()

    def add(self, call: RecordedCall) -> None:
        """Have a result written."""
        if not self._waiting:
            self._came.set()  # nobody waits for it else
        self._waiting.append(call)
        self._bytes += len(call.body)
        if len(self._waiting) >= MAX_RESULTS or self._bytes >= MAX_BYTES:
            self.is_full = True
            self._due.set()

    async def room(self) -> None:
        """Wait while it is full."""
        while self.is_full:
            await self._moved()

    async def drained(self) -> None:
        """Wait until all that was added is written, which is begun at once."""
        self._urging += 1
        self._due.set()
        try:
            while self._waiting or self._is_writing:
                await self._moved()
        finally:
            self._urging -= 1

    async def flush(self) -> None:
        """Write what still waits, once `run` has been cancelled, behind what it was writing. Raises as `run`."""
        # Whoever left the job before would list calls as unknown that are billed a moment later.
        if self._under_way is not None and not await self._under_way:
            raise JobLost
        while self._waiting:
            await self._write()

    async def _gathered(self) -> None:
        """Let more results come, unless it is full or somebody urges."""
        if self.is_full or self._urging:
            return
        self._due.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._gather_s):
                await self._due.wait()

    async def _moved(self) -> None:
        self._went.clear()
        await self._went.wait()

    async def _write(self) -> None:
        batch = self._take()
        self._is_writing = True
        self._under_way = asyncio.ensure_future(self._lane.record(self.job, batch))
        try:
            # The lane writes it whoever leaves; `flush` asks then what came of it.
            is_ours = await asyncio.shield(self._under_way)
        except Exception:
            self._under_way = None
            raise
        finally:
            self._is_writing = False
            self._went.set()
        self._under_way = None
        if not is_ours:
            raise JobLost

    def _take(self) -> list[RecordedCall]:
        batch: list[RecordedCall] = []
        size = 0
        while self._waiting and len(batch) < MAX_RESULTS and (not batch or size < MAX_BYTES):
            batch.append(self._waiting.popleft())
            size += len(batch[-1].body)
        self._bytes -= size
        self.is_full = len(self._waiting) >= MAX_RESULTS or self._bytes >= MAX_BYTES
        self._went.set()  # there is room, also while this batch is being written
        return batch
