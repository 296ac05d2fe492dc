"""A job in a worker's hands: what it took, what is left to do of it, and what it is told meanwhile."""

from datetime import date
from enum import StrEnum
from uuid import UUID

from fanfold.core.values import value
from fanfold.jobs.types import JobReference
from fanfold.tenants.periods import Period


class Word(StrEnum):
    """What a worker hears when it gives a sign of life.

    `CANCEL`: the job is to end. `WAIT`: its tenant is suspended, so it is to go on later. `LOST`: another has it.
    """

    OURS = "ours"
    CANCEL = "cancel"
    WAIT = "wait"
    LOST = "lost"


class JobLost(Exception):
    """The job is another's by now: nothing of it may be written any more."""


class JobStopped(Exception):
    """The job's work is broken off, for the reason that the word or the process's end gives."""


class JobCancelled(JobStopped):
    """Somebody wants the job's end."""


class ProcessEnds(JobStopped):
    """The process ends, and has no more time for this."""


@value(kw_only=True)
class Claiming:
    """How a worker takes jobs: seconds of a lease, most jobs of one tenant at once, attempts before one is dead."""

    worker_id: UUID
    lease_s: float = 30.0
    most: int = 4
    attempts: int = 5


@value(kw_only=True)
class Held:
    """Units of a job: held (None where its reservation has lapsed), the most for the parts left, billed so far."""

    units: int | None
    needed: int
    billed: int
    period: Period


@value(kw_only=True)
class TakenJob:
    """A job as it was claimed; `request` is sealed, `fold_first` the index of the fold's first call."""

    tenant_id: UUID
    id: UUID
    fence: int
    period_start: date
    api_key_id: UUID | None
    total: int
    fold_first: int
    weight: int
    request: bytes
    held: Held

    @property
    def reference(self) -> JobReference:
        """The job as the lane and the functions are told of it."""
        return JobReference(
            tenant_id=self.tenant_id,
            id=self.id,
            fence=self.fence,
            period_start=self.period_start,
            api_key_id=self.api_key_id,
        )


@value
class StoredPart:
    """A part of which calls miss; `done` are those of it that have a result. `body` is sealed."""

    place: int
    done: frozenset[int]
    body: bytes


@value
class StoredResult:
    """One call's result, sealed."""

    call_index: int
    success: bool
    body: bytes


@value
class JobCounts:
    """How many of a job's calls ended well, and how many did not."""

    successful: int
    failed: int
