"""What waits for a flush: one operation of one request, and the answer its caller awaits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from fanfold.usage.types import NO_WARNINGS, Claim, Mark, UsageEvent, Warnings


class Operation(IntEnum):
    """What an item asks for. A settle without events is a release."""

    RESERVE = 1
    SETTLE = 2


class Status(IntEnum):
    """What `ledger_commit` answers for an item."""

    OK = 0
    INSUFFICIENT = 1
    DUPLICATE = 2
    LATE = 3
    UNBILLED = 4
    GONE = 5
    CLAIMED = 6
    OVER_BUDGET = 7


class Answer(NamedTuple):
    """An item's status, and the units that are free after it: None where overage is allowed.

    A tuple, since each item of a flush has one, and a frozen dataclass takes three times as long to make.
    """

    status: Status
    remaining: int | None
    warnings: Warnings = NO_WARNINGS


def _new_answer() -> asyncio.Future[Answer]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One operation in the queue. A caller that leaves cancels `answer`, never the item. Units, seconds.

    `give_up_at` is the loop's time after which a failed attempt is the last. `is_uncertain` means that the item was
    sent once without an answer: what is there already may be its own work.
    """

    operation: Operation
    tenant_id: UUID
    request_id: UUID
    period_start: date
    units: int = 0
    lease_s: float = 0.0
    api_key_id: UUID | None = None
    events: Sequence[UsageEvent] = ()
    claim: Claim | None = None
    mark: Mark | None = None
    give_up_at: float = 0.0
    is_uncertain: bool = False
    answer: asyncio.Future[Answer] = field(default_factory=_new_answer)

    @property
    def names(self) -> tuple[object, ...]:
        """What may stand in a batch once: the request, and the idempotency key that it claims or answers."""
        keyed = self.claim or self.mark
        return (self.request_id, (self.tenant_id, keyed.route, keyed.key)) if keyed else (self.request_id,)

    @property
    def is_dropped(self) -> bool:
        """Whether nobody waits for this reserve any more, so that it need not be sent at all."""
        return self.operation is Operation.RESERVE and self.answer.cancelled() and not self.is_uncertain

    @property
    def is_granted(self) -> bool:
        """Whether this is a reserve that was answered with OK."""
        if self.operation is not Operation.RESERVE or not self.answer.done() or self.answer.cancelled():
            return False
        return self.answer.exception() is None and self.answer.result().status is Status.OK

    def outcome(self, status: Status) -> Status:
        """Return `status`, or OK where it says that this very item was already written by an attempt before."""
        repeated = status is Status.DUPLICATE or (status is Status.GONE and not self.events)
        return Status.OK if self.is_uncertain and repeated else status
