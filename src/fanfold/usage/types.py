"""The ledger's values: what is held, what is billed, what became of it."""

from datetime import date
from enum import StrEnum
from uuid import UUID

from fanfold.core.values import value


class Outcome(StrEnum):
    """What a settle did.

    `SETTLED`: billed from what was held. `RELEASED`: nothing was billed, what was held is free again. `DUPLICATE`: it
    was settled before, nothing moved. `LATE`: the reservation had expired, billed from what was still free.
    `UNBILLED`: nothing was free any more, the events are kept with 0 units. `GONE`: a release of what had expired.
    """

    SETTLED = "settled"
    RELEASED = "released"
    DUPLICATE = "duplicate"
    LATE = "late"
    UNBILLED = "unbilled"
    GONE = "gone"


@value(kw_only=True)
class Reservation:
    """Units held for one request. It carries all that a settle needs, since a late one finds no row any more."""

    tenant_id: UUID
    request_id: UUID
    period_start: date
    units: int
    api_key_id: UUID | None = None


@value(kw_only=True)
class UsageEvent:
    """One meter of one accepted answer: `quantity` in the meter's measure, `units` as priced.

    `rate`: units per call, or per 1,000 of the measure. `is_counted`: tokens that the upstream did not report.
    """

    call_index: int
    meter: str
    units: int
    quantity: int
    rate: int | None = None
    is_counted: bool = False
    upstream_id: UUID | None = None
    upstream: str | None = None


@value(kw_only=True)
class Claim:
    """An idempotency key that a reserve takes in its own commit, and what its request was."""

    route: str
    key: str
    body_hash: bytes


@value(kw_only=True)
class Mark:
    """An idempotency key whose answer is there; a settle says so in its own commit."""

    route: str
    key: str
    status: int


@value
class Warnings:
    """How much is used of the period's quota, and of the API key's budget, in steps: 0, 80 or 100 percent."""

    quota: int = 0
    budget: int = 0


NO_WARNINGS = Warnings()


@value
class Reserved:
    """A reservation that was granted, and the units still free: None where overage is allowed."""

    reservation: Reservation
    remaining: int | None


@value
class Settled:
    """What became of a reservation, and the units that are free after it: None where overage is allowed."""

    outcome: Outcome
    remaining: int | None
    warnings: Warnings = NO_WARNINGS


@value(kw_only=True)
class UsageLine:
    """Sums of the usage events of one group: a day, an upstream's slug, an API key's id, or None."""

    group: date | str | UUID | None
    units: int
    events: int
    unbilled: int
