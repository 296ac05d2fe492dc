"""The jobs' lane: what jobs do with units and the rows that go with it, committed together, many jobs at once."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from fanfold.core.db import Connect
from fanfold.jobs.errors import StorageFull
from fanfold.jobs.riders import COMMIT, Turn, TurnKind, encode_batch
from fanfold.jobs.types import Ending, JobReference, NewJob, RecordedCall
from fanfold.tenants.periods import Clock, Period, period_of, utc_now
from fanfold.usage.group_commit import GroupCommit
from fanfold.usage.items import Item, Operation, Status
from fanfold.usage.lane import Figures
from fanfold.usage.ledger import refuse
from fanfold.usage.types import Claim, Mark, Reservation, Reserved, UsageEvent

# As good as for ever: a job that waits holds its units. While a worker has it, its beats say until when.
_WAITS_S = 10 * 365.25 * 86_400
# The bytes of texts and answers that weigh as much as one usage event does: 1 MiB together, and a flush is full.
_EVENT_BYTES = 1_050


class JobLane:
    """Makes, records and ends jobs through a group commit of their own, beside the ledger's. A context manager."""

    def __init__(
        self,
        connect: Connect,
        *,
        now: Clock = utc_now,
        max_queue: int = 5_000,
        patience_s: float = 15.0,
        statement_timeout_s: float = 5.0,
    ) -> None:
        self._now = now
        self._commit = GroupCommit(
            connect,
            max_queue=max_queue,
            patience_s=patience_s,
            statement_timeout_s=statement_timeout_s,
            statement=COMMIT,
            encode=encode_batch,
        )

    @property
    def figures(self) -> Figures:
        """What the lane did so far: flushes, items, retries, late, unbilled."""
        return self._commit.figures

    @property
    def queued(self) -> int:
        """How many items wait for the next flush."""
        return self._commit.queued

    async def __aenter__(self) -> Self:
        self._commit.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._commit.close()

    async def create(
        self, job: NewJob, *, period: Period, claim: Claim | None = None, mark: Mark | None = None
    ) -> Reserved:
        """Hold the job's units and make it, with its input and its place in the queue, in one commit.

        It is made whatever becomes of the caller. Raises StorageFull, Insufficient, OverBudget, KeyClaimed,
        AlreadyReserved (the id is taken), core's Overloaded and NotReady.
        """
        reservation = Reservation(
            tenant_id=job.tenant_id,
            request_id=job.id,
            period_start=period_of(self._now(), period),
            units=job.units,
            api_key_id=job.api_key_id,
        )
        size = sum([len(part.body) for part in job.parts]) + len(job.request)
        return await self._reserve(reservation, period, job, claim=claim, mark=mark, size=size)

    async def renew(self, job: JobReference, *, units: int, period: Period) -> Reserved:
        """Hold units again for a job whose reservation has lapsed; nothing happens where it has not.

        The job's units are the present period's from then on. Raises as `create`, and `LookupError` where the job is
        another's by now.
        """
        return await self._hold(job, TurnKind.RENEW, units, period)

    async def retry(
        self,
        job: JobReference,
        *,
        units: int,
        period: Period,
        claim: Claim | None = None,
        mark: Mark | None = None,
    ) -> Reserved:
        """Hold units for a job that has ended or is paused, and let what is missing or failed run.

        Raises as `create`, and `LookupError` where the job has changed since.
        """
        return await self._hold(job, TurnKind.RETRY, units, period, claim=claim, mark=mark)

    async def record(self, job: JobReference, results: Sequence[RecordedCall]) -> bool:
        """Write results with their usage events; False where the job is another's by now. Raises NotReady, Rejected."""
        turn = Turn(kind=TurnKind.RECORD, fence=job.fence, results=results)
        events = tuple(event for result in results for event in result.events)
        size = sum(len(result.body) for result in results)
        item = _item(Operation.PART, job, turn, events=events, extra=size // _EVENT_BYTES)
        return (await self._commit.settle(item)).status is not Status.GONE

    async def end(self, job: JobReference, ending: Ending) -> bool:
        """End a job and free what it holds; False where it is another's by now, or ended. Raises NotReady, Rejected."""
        turn = Turn(kind=TurnKind.END, fence=job.fence, ending=ending)
        item = _item(Operation.SETTLE, job, turn, extra=len(ending.output or b"") // _EVENT_BYTES)
        return (await self._commit.settle(item)).status is not Status.GONE

    async def _hold(
        self,
        job: JobReference,
        kind: TurnKind,
        units: int,
        period: Period,
        claim: Claim | None = None,
        mark: Mark | None = None,
    ) -> Reserved:
        reservation = Reservation(
            tenant_id=job.tenant_id,
            request_id=job.id,
            period_start=period_of(self._now(), period),
            units=units,
            api_key_id=job.api_key_id,
        )
        turn = Turn(kind=kind, fence=job.fence)
        return await self._reserve(reservation, period, turn, claim=claim, mark=mark, size=0)

    async def _reserve(
        self,
        reservation: Reservation,
        period: Period,
        rider: NewJob | Turn,
        *,
        claim: Claim | None,
        mark: Mark | None,
        size: int,
    ) -> Reserved:
        item = Item(
            operation=Operation.RESERVE,
            tenant_id=reservation.tenant_id,
            request_id=reservation.request_id,
            period_start=reservation.period_start,
            units=reservation.units,
            lease_s=_WAITS_S,
            api_key_id=reservation.api_key_id,
            claim=claim,
            mark=mark,
            rider=rider,
            stands=True,
            extra=size // _EVENT_BYTES,
        )
        answer = await self._commit.reserve(item)
        is_renewal = isinstance(rider, Turn) and rider.kind is TurnKind.RENEW
        if answer.status is Status.STORAGE_FULL:
            assert isinstance(rider, NewJob)  # noqa: S101 (only a new job is refused for it)
            raise StorageFull(rider.max_stored_bytes)
        if answer.status is Status.GONE:
            raise LookupError("The job is another's by now.")
        if answer.status is not Status.OK and not (is_renewal and answer.status is Status.DUPLICATE):
            refuse(answer, reservation, period)
        return Reserved(reservation, answer.remaining)


def _item(
    operation: Operation, job: JobReference, turn: Turn, *, events: Sequence[UsageEvent] = (), extra: int
) -> Item:
    return Item(
        operation=operation,
        tenant_id=job.tenant_id,
        request_id=job.id,
        period_start=job.period_start,
        api_key_id=job.api_key_id,
        events=events,
        rider=turn,
        extra=extra,
    )
