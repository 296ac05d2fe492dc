"""The public face of the ledger: reserve before, settle after, never over the quota."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from fanfold.core.db import Connect
from fanfold.tenants.periods import Clock, period_end, period_of, utc_now
from fanfold.usage.errors import AlreadyReserved, Insufficient
from fanfold.usage.group_commit import Figures, GroupCommit
from fanfold.usage.items import Item, Operation, Status
from fanfold.usage.types import Outcome, Reservation, Reserved, Settled, UsageEvent

_OUTCOMES = {
    Status.OK: Outcome.SETTLED,
    Status.DUPLICATE: Outcome.DUPLICATE,
    Status.LATE: Outcome.LATE,
    Status.UNBILLED: Outcome.UNBILLED,
    Status.GONE: Outcome.GONE,
}


class Ledger:
    """Reserves and settles units of tenants' months, through one group commit per process. An async context manager.

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
        """What the lane did so far: flushes, items, retries, late, unbilled."""
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

    async def reserve(
        self, *, tenant_id: UUID, request_id: UUID, units: int, lease_s: float, api_key_id: UUID | None = None
    ) -> Reserved:
        """Hold `units` of the tenant's present month for `lease_s` seconds; what is not settled by then is swept.

        Raises Insufficient, UnknownTenant, AlreadyReserved, core's Overloaded and NotReady. A cancelled caller holds
        nothing.
        """
        reservation = Reservation(
            tenant_id=tenant_id,
            request_id=request_id,
            period_start=period_of(self._now()),
            units=units,
            api_key_id=api_key_id,
        )
        answer = await self._commit.reserve(_item(Operation.RESERVE, reservation, lease_s=lease_s))
        if answer.status is Status.INSUFFICIENT:
            end = period_end(reservation.period_start)
            raise Insufficient(needed=units, remaining=answer.remaining, period_end=end)
        if answer.status is Status.DUPLICATE:
            raise AlreadyReserved
        return Reserved(reservation, answer.remaining)

    async def settle(self, reservation: Reservation, events: Sequence[UsageEvent]) -> Settled:
        """End a reservation: bill `events`, free the rest. No events: a release.

        The events are billed to the reservation's own month, also after midnight, once however often they are sent.
        Once this runs it is written even when the caller is cancelled. Raises NotReady, Rejected.
        """
        answer = await self._commit.settle(_item(Operation.SETTLE, reservation, events=tuple(events)))
        is_release = answer.status is Status.OK and not events
        return Settled(Outcome.RELEASED if is_release else _OUTCOMES[answer.status], answer.remaining)


def _item(
    operation: Operation,
    reservation: Reservation,
    *,
    lease_s: float = 0.0,
    events: tuple[UsageEvent, ...] = (),
) -> Item:
    return Item(
        operation=operation,
        tenant_id=reservation.tenant_id,
        request_id=reservation.request_id,
        period_start=reservation.period_start,
        units=reservation.units if operation is Operation.RESERVE else 0,
        lease_s=lease_s,
        api_key_id=reservation.api_key_id,
        events=events,
    )
