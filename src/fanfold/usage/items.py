"""What waits for a flush: one operation of one request, and the answer its caller awaits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from fanfold.usage.types import NO_WARNINGS, Claim, Mark, UsageEvent, Warnings

# So many take the database some 2 ms, as long as a flush without any.
LARGE_EVENTS = 100


class Operation(IntEnum):
    """What an item asks for. A settle without events is a release; a part bills from a reservation that lives on."""

    RESERVE = 1
    SETTLE = 2
    PART = 5


class Size(IntEnum):
    """Which lane takes an item."""

    SMALL = 0
    LARGE = 1


class Status(IntEnum):
    """What `ledger_commit` answers for an item; the last is of `jobs_commit` alone."""

    OK = 0
    INSUFFICIENT = 1
    DUPLICATE = 2
    LATE = 3
    UNBILLED = 4
    GONE = 5
    CLAIMED = 6
    OVER_BUDGET = 7
    STORAGE_FULL = 8


class Answer(NamedTuple):
    """An item's status, and the units that are free after it: None where overage is allowed.

    A tuple, since each item of a flush has one, and a frozen dataclass takes three times as long to make.
    """

    status: Status
    remaining: int | None
    warnings: Warnings = NO_WARNINGS


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One operation in the queue. A caller that leaves cancels `answer`, never the item. Units, seconds.

    `give_up_at` is the loop's time after which a failed attempt is the last. `is_uncertain` means that the item was
    sent once without an answer: what is there already may be its own work. A reserve that `stands` is written and kept
    whatever becomes of its caller, where others are dropped or given back. `rider` is what goes with it in a lane of
    others, and weighs as much as `extra` events.
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
    rider: object = None
    stands: bool = False
    extra: int = 0
    give_up_at: float = 0.0
    is_uncertain: bool = False
    answer: asyncio.Future[Answer] = field(default_factory=asyncio.Future)
    names: tuple[object, ...] = field(init=False)
    """What may stand in a batch once: the request, and the idempotency key that it claims or answers."""
    load: int = field(init=False)
    """How much of a flush it takes, in events."""
    size: Size = field(init=False)
    """Which lane it belongs to."""

    def __post_init__(self) -> None:
        keyed = self.claim or self.mark
        own = (self.request_id.int,)  # a UUID is hashed by Python
        self.names = (*own, (self.tenant_id, keyed.route, keyed.key)) if keyed else own
        self.load = len(self.events) + self.extra
        self.size = Size.LARGE if self.load > LARGE_EVENTS else Size.SMALL

    @property
    def is_dropped(self) -> bool:
        """Whether nobody waits for this reserve any more, so that it need not be sent at all."""
        return self._needs_its_caller and self.answer.cancelled() and not self.is_uncertain

    @property
    def was_granted(self) -> bool:
        """Whether this is a reserve that was answered with OK, and is given back where its caller has left."""
        if not self.answer.done() or self.answer.cancelled() or self.answer.exception() is not None:
            return False
        return self.is_given_back(self.answer.result())

    def is_given_back(self, answer: Answer) -> bool:
        """Tell whether what `answer` grants must be given back where the caller has left."""
        return self._needs_its_caller and answer.status is Status.OK

    @property
    def _needs_its_caller(self) -> bool:
        return self.operation is Operation.RESERVE and not self.stands

    def outcome(self, status: Status) -> Status:
        """Return `status`, or OK where it says that this very item was already written by an attempt before."""
        is_ended = status is Status.GONE and not self.events and self.operation is not Operation.PART
        repeated = status is Status.DUPLICATE or is_ended
        return Status.OK if self.is_uncertain and repeated else status
