"""A request's way through: admitted, then ended and billed."""

from collections.abc import Sequence
from uuid import UUID

from fanfold.core.values import value
from fanfold.fanout.types import FanOutAnswer, Plan
from fanfold.idempotency.types import KeyedRequest
from fanfold.usage.types import Reservation, Settled


@value(kw_only=True)
class Admission:
    """A request that may run: its plan, and the units held for it."""

    id: UUID
    plan: Plan
    reservation: Reservation
    by_address: bool
    keyed: KeyedRequest | None = None


@value
class Billed:
    """What an ended request cost, and what is left: None where overage is allowed.

    `beginning` is the encoded answer before its usage, where it had to be stored before it was billed.
    """

    settled: Settled
    units: int
    remaining: int | None
    beginning: Sequence[bytes] | None = None


@value
class Processed:
    """A request that has run and is billed."""

    admission: Admission
    answer: FanOutAnswer
    billed: Billed
