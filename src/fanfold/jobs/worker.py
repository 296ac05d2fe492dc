"""The worker of one process: takes turns from the queue, and works on the jobs of the tenants whose turn it is."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fanfold.core.crypto import SealBroken
from fanfold.core.db import Connect
from fanfold.core.errors import NotReady
from fanfold.core.lazily import on_call
from fanfold.core.telemetry.logging import get_logger
from fanfold.jobs.beats import Beats
from fanfold.jobs.calls import Tools
from fanfold.jobs.patience import patiently
from fanfold.jobs.recording import Recorder
from fanfold.jobs.taken import JobCancelled, JobLost, ProcessEnds, TakenJob
from fanfold.jobs.turn import JobTurn
from fanfold.jobs.types import Ending, JobStatus
from fanfold.usage.errors import Insufficient

_PAUSED = {
    "code": "quota-exhausted",
    "detail": "The units for the rest of this job could not be held again. Retry it when there are units.",
}
_FAILED = {
    "code": "internal-error",
    "detail": "An attempt failed. If it happens again, give the job's id to the operator of this server.",
}
_SEALED = {
    "code": "not-ready",
    "detail": "The server cannot open what it keeps sealed for this job. Its log tells its operator what to do.",
}

if TYPE_CHECKING:
    from fanfold.jobs.queue import TurnQueue

# With pgqueuer: no server waits for it to be ready, and those without a worker never need it.
_turn_queue = on_call("fanfold.jobs.queue", "TurnQueue")

_log = get_logger(__name__)


class JobWorker:
    """Works on at most `at_once` jobs together, until it is stopped; see `run`.

    `turns` counts jobs taken: the one that a turn begins with, and each that it goes on with; `lost` those of them that
    another worker took over, `failed` attempts that failed.
    """

    def __init__(self, tools: Tools, connect: Connect, *, at_once: int) -> None:
        self.turns = self.lost = self.failed = 0
        self.running = 0
        self._tools = tools
        self._soon, self._cut_off = asyncio.Event(), asyncio.Event()
        self._connect, self._at_once = connect, at_once
        self._queue: TurnQueue | None = None

    async def run(self) -> None:
        """Work until `stop`; then the parts that run are finished, or broken off by `cut_off`, and all is written."""
        self._queue = await asyncio.to_thread(self._opened)
        if not self._soon.is_set():
            await self._queue.run()

    def stop(self) -> None:
        """Take nothing new, and leave each job with the part that runs."""
        self._soon.set()
        if self._queue is not None:
            self._queue.stop()

    def cut_off(self) -> None:
        """Break off what still runs; what was answered is recorded."""
        self._cut_off.set()

    def _opened(self) -> "TurnQueue":
        """Return the queue. Blocks: the first of a process imports its engine."""
        silence_s = max(2.0, self._tools.claiming.lease_s)
        opened: TurnQueue = _turn_queue(
            self._connect, self._on_turn, at_once=self._at_once, silence_s=silence_s
        )
        return opened

    async def _on_turn(self, queue_id: int, tenant_id: UUID) -> None:
        """Work on the tenant's next job. Raises `NotReady` where the turn has to come again."""
        job = await self._taken(tenant_id, queue_id)
        while job is not None:
            self.turns += 1
            self.running += 1
            try:
                await self._work_on(job)
            finally:
                self.running -= 1
            # Where nobody waits, the turn goes on: the queue takes a tenth of a second to give its place to the next.
            job = await self._taken(tenant_id)

    async def _taken(self, tenant_id: UUID, queue_id: int | None = None) -> TakenJob | None:
        repository, claiming = self._tools.repository, self._tools.claiming
        if not self._soon.is_set():
            job = await repository.take(queue_id, tenant_id, claiming)
            if job is None or not self._soon.is_set():
                return job
            # The process was told to end meanwhile.
            with suppress(JobLost):
                await self._leave(job, "next")
        elif queue_id is not None:
            await repository.begin(queue_id)
        await repository.queue_next(tenant_id, most=claiming.most)
        return None

    async def _work_on(self, job: TakenJob) -> None:
        recorder = Recorder(self._tools.lane, job.reference)
        try:
            await self._one_turn(job, recorder)
        except JobLost:
            self.lost += 1
            _log.warning("A job is another worker's by now.", job_id=job.id, tenant_id=job.tenant_id)
        except NotReady:
            # Its lease lapses: then somebody takes it, and lists what was under way.
            _log.warning("A job was left without a word: the database is away.", job_id=job.id)

    async def _one_turn(self, job: TakenJob, recorder: Recorder) -> None:
        """Work on the job, and leave it as its work ended. Raises `JobLost`, NotReady."""
        try:
            if not await self._supervised(job, recorder):
                await self._leave(job, "next")
        except JobCancelled:
            await recorder.flush()
            await self._tools.lane.end(recorder.job, Ending(status=JobStatus.CANCELLED))
        except ProcessEnds:
            await recorder.flush()
            await self._leave(job, "next")
        except Insufficient:
            await self._leave(job, "paused", _PAUSED)
        except JobLost:
            raise
        except Exception as error:  # noqa: BLE001 - the turn's edge: whatever is wrong with one job, the others go on
            self.failed += 1
            self._tell(job, error)
            await recorder.flush()
            await self._leave(job, "failed", _SEALED if isinstance(error, SealBroken) else _FAILED)

    def _tell(self, job: TakenJob, error: Exception) -> None:
        fields: dict[str, Any] = {"job_id": job.id, "tenant_id": job.tenant_id, "error": type(error).__name__}
        if isinstance(error, SealBroken):
            _log.error(f"A job cannot be opened. {error.explanation}", **fields)
        elif isinstance(error, NotReady):
            _log.warning("A turn of a job failed: the database was away.", **fields)
        else:
            _log.error("A turn of a job failed.", exc_info=error, **fields)

    async def _supervised(self, job: TakenJob, recorder: Recorder) -> bool:
        """Work on the job while it beats and records; tell whether it has ended. Raises what went wrong first."""
        beats = Beats(self._tools.repository, job.reference, self._tools.claiming, cut_off=self._cut_off)
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(each.run()) for each in (recorder, beats)]
                turn = JobTurn(self._tools, job, recorder, beats, soon=self._soon)
                has_ended = await turn.carry_out()
                await recorder.drained()
                for task in beside:
                    task.cancel()
                return has_ended
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _leave(self, job: TakenJob, how: str, error: dict[str, str] | None = None) -> None:
        attempts = self._tools.claiming.attempts
        leave = partial(self._tools.repository.leave, job.reference, how, error, attempts=attempts)
        if not await patiently(leave):
            raise JobLost


def _first(error: BaseException) -> BaseException:
    """Return the first of what went wrong; whatever else did, a job that is lost must not be written any more."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_first(each) for each in error.exceptions]
    return next((each for each in found if isinstance(each, JobLost)), found[0])
