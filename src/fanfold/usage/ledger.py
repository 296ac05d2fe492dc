"""The public face of the ledger: reserve before, settle after, never over the quota."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from fanfold.core.db import Connect
from fanfold.tenants.periods import Clock, Period, period_end, period_of, utc_now
from fanfold.usage.errors import AlreadyReserved, Insufficient, KeyClaimed, OverBudget
from fanfold.usage.group_commit import GroupCommit
from fanfold.usage.items import Answer, Item, Operation, Status
from fanfold.usage.lane import Figures
from fanfold.usage.types import Claim, Mark, Outcome, Reservation, Reserved, Settled, UsageEvent

_OUTCOMES = {
    Status.OK: Outcome.SETTLED,
    Status.DUPLICATE: Outcome.DUPLICATE,
    Status.LATE: Outcome.LATE,
    Status.UNBILLED: Outcome.UNBILLED,
    Status.GONE: Outcome.GONE,
}
_SHORT = {Status.INSUFFICIENT: Insufficient, Status.OVER_BUDGET: OverBudget}


class Ledger:
    """Reserves and settles units of tenants' periods, through one group commit per process. An async context manager.

    `max_queue` bounds waiting reserves; after `patience_s` of failed attempts an operation raises `NotReady`.
    """

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
            connect, max_queue=max_queue, patience_s=patience_s, statement_timeout_s=statement_timeout_s
        )

    @property
    def figures(self) -> Figures:
        """What the lanes did so far: flushes, items, retries, late, unbilled."""
        return self._commit.figures

    @property
    def queued(self) -> int:
        """How many operations wait for the next flush."""
        return self._commit.queued

    async def __aenter__(self) -> Self:
        self._commit.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._commit.close()

    async def reserve(  # noqa: PLR0913 (keywords, all of one reservation)
        self,
        *,
        tenant_id: UUID,
        request_id: UUID,
        units: int,
        lease_s: float,
        api_key_id: UUID | None = None,
        period: Period = Period.MONTH,
        claim: Claim | None = None,
    ) -> Reserved:
        """Hold `units` of the tenant's present period for `lease_s` seconds; what is not settled by then is swept.

        With a `claim` the idempotency key is the request's from the same commit on. Raises Insufficient, OverBudget,
        KeyClaimed, UnknownTenant, AlreadyReserved, core's Overloaded and NotReady. A cancelled caller holds nothing.
        """
        period_start = period_of(self._now(), period)
        item = Item(
            operation=Operation.RESERVE,
            tenant_id=tenant_id,
            request_id=request_id,
            period_start=period_start,
            units=units,
            lease_s=lease_s,
            api_key_id=api_key_id,
            claim=claim,
        )
        answer = await self._commit.reserve(item)
        if answer.status is not Status.OK:
            refuse(answer, item, period)
        reservation = Reservation(
            tenant_id=tenant_id,
            request_id=request_id,
            period_start=period_start,
            units=units,
            api_key_id=api_key_id,
        )
        return Reserved(reservation, answer.remaining)

    async def settle(
        self, reservation: Reservation, events: Sequence[UsageEvent], mark: Mark | None = None
    ) -> Settled:
        """End a reservation: bill `events`, free the rest. No events: a release.

        The events are billed to the reservation's own period, also after its end, once however often they are sent.
        With a `mark` the idempotency key has its answer from the same commit on. Once this runs it is written even when
        the caller is cancelled. Raises NotReady, Rejected.
        """
        item = Item(
            operation=Operation.SETTLE,
            tenant_id=reservation.tenant_id,
            request_id=reservation.request_id,
            period_start=reservation.period_start,
            api_key_id=reservation.api_key_id,
            events=tuple(events),
            mark=mark,
        )
        answer = await self._commit.settle(item)
        is_release = answer.status is Status.OK and not events
        outcome = Outcome.RELEASED if is_release else _OUTCOMES[answer.status]
        return Settled(outcome, answer.remaining, answer.warnings)


def refuse(answer: Answer, item: Item, period: Period) -> None:
    """Raise what the answer of a reserve means, unless it is one of success."""
    if answer.status in _SHORT:
        raise _SHORT[answer.status](
            needed=item.units,
            remaining=answer.remaining or 0,
            period_end=period_end(item.period_start, period),
        )
    if answer.status is Status.CLAIMED:
        raise KeyClaimed
    if answer.status is Status.DUPLICATE:
        raise AlreadyReserved
