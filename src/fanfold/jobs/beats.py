"""The signs of life of a worker that has a job, and what it hears in return."""

import asyncio
from contextlib import suppress

from fanfold.core.errors import NotReady
from fanfold.core.telemetry.logging import get_logger
from fanfold.jobs.taken import Claiming, JobCancelled, JobLost, ProcessEnds, Word
from fanfold.jobs.turn_repository import TurnRepository
from fanfold.jobs.types import JobReference

# A cancellation has to take effect within 2 s.
EVERY_S = 1.0

_log = get_logger(__name__)


class Beats:
    """Beats each second for one job. `is_to_wait` is set once its tenant is suspended."""

    def __init__(
        self, repository: TurnRepository, job: JobReference, claiming: Claiming, *, cut_off: asyncio.Event
    ) -> None:
        self.is_to_wait = False
        self._repository, self._job, self._lease_s = repository, job, claiming.lease_s
        self._cut_off = cut_off
        self._lapses_at = asyncio.get_running_loop().time() + claiming.lease_s

    async def run(self) -> None:
        """Beat until cancelled. Raises `JobLost`, `JobCancelled`, and `ProcessEnds` once `cut_off` is set."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(EVERY_S, self._lease_s / 3)):
                    await self._cut_off.wait()
                    raise ProcessEnds
            try:
                await self.announce(0, 0)
            except NotReady:
                if asyncio.get_running_loop().time() >= self._lapses_at:
                    _log.warning("A job was given up: its lease could not be kept.", job_id=self._job.id)
                    raise JobLost from None

    async def announce(self, calls: int, units: int, *, anew: bool = False) -> None:
        """Beat, and say how many calls are about to be made, at how many units at most, beside those under way.

        `anew`: none is under way, whatever was said before. Raises as `run`, and NotReady: then nobody knows whether it
        was heard.
        """
        began = asyncio.get_running_loop().time()
        word = await self._repository.beat(
            self._job, lease_s=self._lease_s, calls=calls, units=units, anew=anew
        )
        if word is Word.LOST:
            raise JobLost
        if word is Word.CANCEL:
            raise JobCancelled
        self._lapses_at = began + self._lease_s
        self.is_to_wait = self.is_to_wait or word is Word.WAIT
