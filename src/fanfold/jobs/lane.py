"""The jobs' lane: what jobs do with units and the rows that go with it, committed together, many jobs at once."""

from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import Self

from fanfold.core.db import Connect
from fanfold.jobs.errors import StorageFull
from fanfold.jobs.riders import COMMIT, Turn, TurnKind, encode_batch
from fanfold.jobs.types import Ending, JobReference, NewJob, RecordedCall
from fanfold.tenants.periods import Clock, Period, period_of, utc_now
from fanfold.usage.group_commit import GroupCommit
from fanfold.usage.items import Answer, Item, Operation, Status
from fanfold.usage.lane import Figures
from fanfold.usage.ledger import refuse
from fanfold.usage.types import Claim, Mark, UsageEvent

# As good as for ever: a job that waits holds its units. While a worker has it, its beats say until when.
_WAITS_S = 10 * 365.25 * 86_400
# The bytes of texts and answers that weigh as much as one usage event does: 1 MiB together, and a flush is full.
_EVENT_BYTES = 1_050
# Members of enumerations are calls before Python 3.12.
_RESERVE, _OK = Operation.RESERVE, Status.OK


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
    ) -> None:
        """Hold the job's units and make it, with its input and its place in the queue, in one commit.

        It is made whatever becomes of the caller. Raises StorageFull, Insufficient, OverBudget, KeyClaimed,
        AlreadyReserved (the id is taken), core's Overloaded and NotReady.
        """
        size = len(job.request)
        for part in job.parts:
            size += len(part.body)
        item = Item(
            operation=_RESERVE,
            tenant_id=job.tenant_id,
            request_id=job.id,
            period_start=period_of(self._now(), period),
            units=job.units,
            lease_s=_WAITS_S,
            api_key_id=job.api_key_id,
            claim=claim,
            mark=mark,
            rider=job,
            stands=True,
            extra=size // _EVENT_BYTES,
        )
        answer = await self._commit.reserve(item)
        if answer.status is not _OK:
            if answer.status is Status.STORAGE_FULL:
                raise StorageFull(job.max_stored_bytes)
            refuse(answer, item, period)

    async def renew(self, job: JobReference, *, units: int, period: Period) -> date:
        """Hold units again for a job whose reservation has lapsed; nothing happens where it has not.

        The job's units are those of the present period from then on, whose start is returned. Raises as `create`, and
        `LookupError` where the job is another's by now.
        """
        item = self._holding(job, TurnKind.RENEW, units, period)
        answer = await self._commit.reserve(item)
        if answer.status is not Status.DUPLICATE:
            _check_held(answer, item, period)
        return item.period_start

    async def retry(
        self,
        job: JobReference,
        *,
        units: int,
        period: Period,
        claim: Claim | None = None,
        mark: Mark | None = None,
    ) -> None:
        """Hold units for a job that has ended or is paused, and let what is missing or failed run.

        Raises as `create`, and `LookupError` where the job has changed since.
        """
        item = self._holding(job, TurnKind.RETRY, units, period, claim=claim, mark=mark)
        _check_held(await self._commit.reserve(item), item, period)

    async def record(self, job: JobReference, results: Sequence[RecordedCall]) -> bool:
        """Write results with their usage events; False where the job is another's by now. Raises NotReady, Rejected."""
        turn = Turn(kind=TurnKind.RECORD, fence=job.fence, results=results)
        events = [event for result in results for event in result.events]
        size = sum([len(result.body) for result in results])
        item = _item(Operation.PART, job, turn, events=events, extra=size // _EVENT_BYTES)
        return (await self._commit.settle(item)).status is not Status.GONE

    async def end(self, job: JobReference, ending: Ending) -> bool:
        """End a job and free what it holds; False where it is another's by now, or ended. Raises NotReady, Rejected."""
        turn = Turn(kind=TurnKind.END, fence=job.fence, ending=ending)
        item = _item(Operation.SETTLE, job, turn, extra=len(ending.output or b"") // _EVENT_BYTES)
        return (await self._commit.settle(item)).status is not Status.GONE

    def _holding(
        self,
        job: JobReference,
        kind: TurnKind,
        units: int,
        period: Period,
        claim: Claim | None = None,
        mark: Mark | None = None,
    ) -> Item:
        return Item(
            operation=_RESERVE,
            tenant_id=job.tenant_id,
            request_id=job.id,
            period_start=period_of(self._now(), period),
            units=units,
            lease_s=_WAITS_S,
            api_key_id=job.api_key_id,
            claim=claim,
            mark=mark,
            rider=Turn(kind=kind, fence=job.fence),
            stands=True,
        )


def _check_held(answer: Answer, item: Item, period: Period) -> None:
    if answer.status is Status.GONE:
        raise LookupError("The job is another's by now.")
    if answer.status is not _OK:
        refuse(answer, item, period)


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
