"""The ledger in plain Python: rows in dictionaries, sums taken anew each time, one batch after the other.

It is written from the rules (architecture.md and api.md), not from the SQL. What is taken of a period lies in two
pockets: the limit's and the prepaid balance's (`drawn`). Units fill the limit's first and return to the balance first.
Values are frozen, so that `copy` is cheap: whoever looks for an order that explains answers tries many.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

NOBODY = UUID(int=0)
Row = tuple[UUID, date]
Request = tuple[UUID, UUID]
Answer = tuple[Any, ...]


class Kind(StrEnum):
    """What is asked; `lapse` and `charge` are asked by `sweep` and `resolve` alone."""

    RESERVE = "reserve"
    SETTLE = "settle"
    SWEEP = "sweep"
    RESOLVE = "resolve"
    LAPSE = "lapse"
    CHARGE = "charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One operation. `events`: call index and units; a poisoned settle is refused whatever comes with it."""

    kind: Kind
    tenant: UUID = NOBODY
    request: UUID = NOBODY
    start: date = date.min
    key: UUID | None = None
    units: int = 0
    events: tuple[tuple[int, int], ...] = ()
    claim: str | None = None
    mark: str | None = None
    resolution: str = ""
    is_poisoned: bool = False
    lane: int = 0
    period: str = "month"


@dataclass(frozen=True, slots=True)
class Plan:
    units: int
    period: str
    overage: bool


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant's plan, and what differs from it."""

    plan: str
    units: int | None = None
    overage: bool | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    start: date
    key: UUID | None
    units: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    start: date
    key: UUID | None
    units: int
    due: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Pocket:
    """What a period, or a key's part of it, keeps besides its rows: the limit seen last, units drawn, warning given."""

    granted: int | None = None
    drawn: int = 0
    warned: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    kind: str
    start: date
    key: UUID | None
    units: int
    resolution: str | None = None
    resolved_units: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    request: UUID
    status: int | None = None
    units: int | None = None
    remaining: int | None = None
    is_old: bool = False


def start_of(moment: datetime, period: str) -> date:
    """Return the first day of the period that holds `moment`."""
    day = moment.date()
    starts = {
        "day": day,
        "week": day - timedelta(days=day.isoweekday() - 1),
        "month": date(day.year, day.month, 1),
    }
    return starts[period]


def level(used: int, limit: int) -> int:
    """Return how much is used, in steps of percent: 80 means that a fifth or less is left."""
    if used == 0:
        return 0
    return 100 if used >= limit else 80 if limit - used <= limit // 5 else 0


@dataclass(slots=True)
class LedgerModel:
    """All there is. `warnings` are the outbox's: tenant, period, key or None, level, used, limit."""

    plans: dict[str, Plan] = field(default_factory=dict)
    tenants: dict[UUID, Tenant] = field(default_factory=dict)
    keys: dict[UUID, int | None] = field(default_factory=dict)
    grants: tuple[tuple[UUID, date | None, int], ...] = ()
    holds: dict[Request, Hold] = field(default_factory=dict)
    events: dict[tuple[UUID, UUID, int], Event] = field(default_factory=dict)
    periods: dict[Row, Pocket] = field(default_factory=dict)
    budgets: dict[tuple[UUID, UUID, date], Pocket] = field(default_factory=dict)
    outcomes: dict[Request, Outcome] = field(default_factory=dict)
    claims: dict[tuple[UUID, str], Claim] = field(default_factory=dict)
    warnings: tuple[tuple[Any, ...], ...] = ()

    def copy(self) -> Self:
        tables: dict[str, Any] = {one.name: copy(getattr(self, one.name)) for one in fields(self)}
        return type(self)(**tables)

    def is_free(self, tenant: UUID) -> bool:
        """Whether overage is allowed, so that nothing is refused."""
        own = self.tenants[tenant]
        return self.plans[own.plan].overage if own.overage is None else own.overage

    def limit(self, tenant: UUID, start: date) -> int:
        own = self.tenants[tenant]
        units = self.plans[own.plan].units if own.units is None else own.units
        return max(units + sum(n for who, when, n in self.grants if (who, when) == (tenant, start)), 0)

    def prepaid_left(self, tenant: UUID) -> int:
        granted = sum(n for who, when, n in self.grants if who == tenant and when is None)
        drawn = sum(pocket.drawn for (who, _), pocket in self.periods.items() if who == tenant)
        return max(max(granted, 0) - drawn, 0)

    def reserved(self, tenant: UUID, start: date, key: UUID | None = None) -> int:
        rows = ((who, hold) for (who, _), hold in self.holds.items() if key in {None, hold.key})
        return sum(hold.units for who, hold in rows if (who, hold.start) == (tenant, start))

    def used(self, tenant: UUID, start: date, key: UUID | None = None) -> int:
        rows = ((who, event) for (who, *_), event in self.events.items() if key in {None, event.key})
        return sum(event.units for who, event in rows if (who, event.start) == (tenant, start))

    def taken(self, tenant: UUID, start: date, key: UUID | None = None) -> int:
        return self.reserved(tenant, start, key) + self.used(tenant, start, key)

    def room(self, tenant: UUID, start: date) -> int:
        """Units that still fit into the limit's pocket."""
        of_limit = self.taken(tenant, start) - self.periods[tenant, start].drawn
        return max(self.limit(tenant, start) - of_limit, 0)

    def remaining(self, tenant: UUID, start: date) -> int | None:
        if self.is_free(tenant):
            return None
        return self.room(tenant, start) + self.prepaid_left(tenant)

    def budget_left(self, asked: Asked) -> int | None:
        limit = None if asked.key is None else self.keys[asked.key]
        if limit is None:
            return None
        return max(limit - self.taken(asked.tenant, asked.start, asked.key), 0)

    # One batch: what one flush does.

    def apply(self, block: Sequence[Asked]) -> list[Answer]:
        """Do one flush of a lane, or one sweep, or one resolution; return its answers."""
        if block[0].kind is Kind.SWEEP:
            return [self.sweep()]
        if block[0].kind is Kind.RESOLVE:
            return [self.resolve(block[0])]
        return self.flush(block)

    def flush(self, batch: Sequence[Asked]) -> list[Answer]:
        rows = list(dict.fromkeys((asked.tenant, asked.start) for asked in batch))
        budgets = list(dict.fromkeys((a.tenant, a.key, a.start) for a in batch if a.key is not None))
        for row in rows:
            self._open(row)
        answers = [self._answer(asked) for asked in batch]
        for tenant, start in rows:
            self._warn_quota(tenant, start)
        for tenant, key, start in budgets:
            self._warn_budget(tenant, key, start)
        return [
            (
                *answer,
                self._warned(asked.tenant, asked.start),
                self._warned(asked.tenant, asked.start, asked.key),
            )
            if asked.kind is Kind.SETTLE
            else answer
            for asked, answer in zip(batch, answers, strict=True)
        ]

    def _open(self, row: Row) -> None:
        """A raised limit, and overage, take back into the limit's pocket what was drawn beyond it."""
        pocket, limit = self.periods.get(row, Pocket()), self.limit(*row)
        above = 0 if self.is_free(row[0]) else max(self.taken(*row) - limit, 0)
        self.periods[row] = replace(pocket, granted=limit, drawn=min(pocket.drawn, above))

    def _answer(self, asked: Asked) -> Answer:
        match asked.kind:
            case Kind.RESERVE:
                return self._reserve(asked)
            case Kind.LAPSE:
                return self._lapse(asked)
            case _:
                return self._settle(asked)

    def _refusal(self, asked: Asked, more: int) -> Answer | None:
        """Return why `more` units do not fit; what costs nothing more always fits."""
        left, of_budget = self.remaining(asked.tenant, asked.start), self.budget_left(asked)
        if more > 0 and left is not None and more > left:
            return ("insufficient", left)
        if more > 0 and of_budget is not None and more > of_budget:
            return ("over-budget", of_budget)
        return None

    def _move(self, asked: Asked, more: int) -> None:
        """Take `more` units: of the limit first, then of the balance. Less than none return the other way round."""
        row = asked.tenant, asked.start
        pocket = self.periods[row]
        if self.is_free(asked.tenant):
            return
        drawn = pocket.drawn + max(more - self.room(*row), 0) if more > 0 else max(pocket.drawn + more, 0)
        self.periods[row] = replace(pocket, drawn=drawn)

    def _reserve(self, asked: Asked) -> Answer:
        name = asked.tenant, asked.request
        if name in self.holds:
            return ("AlreadyReserved", self.remaining(asked.tenant, asked.start))
        if asked.claim is not None and self._is_claimed(asked.tenant, asked.claim):
            return ("KeyClaimed",)
        refusal = self._refusal(asked, asked.units)
        if refusal is not None:
            return refusal
        self._move(asked, asked.units)
        self.holds[name] = Hold(asked.start, asked.key, asked.units)
        if asked.claim is not None:
            self.claims[asked.tenant, asked.claim] = Claim(asked.request)
        return ("reserved", self.remaining(asked.tenant, asked.start))

    def _is_claimed(self, tenant: UUID, key: str) -> bool:
        """A claim holds for 24 hours while its request runs or has its answer."""
        claim = self.claims.get((tenant, key))
        if claim is None or claim.is_old:
            return False
        return claim.status is not None or (tenant, claim.request) in self.holds

    def _settle(self, asked: Asked) -> Answer:
        """Settle, or charge: a charge finds nothing held, and what does not fit is refused, not kept."""
        name = asked.tenant, asked.request
        hold = self.holds.get(name) if asked.kind is Kind.SETTLE else None
        hold = hold if hold and hold.start == asked.start else None  # of another period: not this one's
        new = [event for event in asked.events if (*name, event[0]) not in self.events]
        due = sum(units for _, units in new)
        word, billed = self._verdict(asked, hold, new, due)
        if word in {"settled", "released", "late", "unbilled"} and (hold or new):
            self._move(asked, billed - (hold.units if hold else 0))
            if hold:
                del self.holds[name]
            for index, units in new:
                paid = (0, units, "unbilled") if word == "unbilled" else (units, 0, "billed")
                self.events[*name, index] = Event(asked.start, asked.key, *paid)
        if asked.kind is Kind.SETTLE:
            self._note_outcome(asked, word, due if new else None, billed)
            self._note_mark(asked, word, billed)
        return (word, self.remaining(asked.tenant, asked.start))

    def _verdict(
        self, asked: Asked, hold: Hold | None, new: Sequence[tuple[int, int]], due: int
    ) -> tuple[str, int]:
        if not asked.events:
            return ("released" if hold else "gone"), 0
        if hold is None and not new:
            there = [self.events[asked.tenant, asked.request, index].outcome for index, _ in asked.events]
            return ("unbilled" if "unbilled" in there else "duplicate"), 0
        if hold is None and asked.kind is Kind.SETTLE and self._is_closed(asked):
            return "gone", 0
        refusal = self._refusal(asked, due - (hold.units if hold else 0))
        if refusal is not None:
            return ("unbilled" if asked.kind is Kind.SETTLE else refusal[0]), 0
        return ("settled" if hold or asked.kind is Kind.CHARGE else "late"), due

    def _is_closed(self, asked: Asked) -> bool:
        """Whether a person has decided already, or a retry has taken the idempotency key over."""
        outcome = self.outcomes.get((asked.tenant, asked.request))
        claim = self.claims.get((asked.tenant, asked.mark)) if asked.mark else None
        decided = outcome is not None and outcome.resolution in {"billed", "waived"}
        return decided or (claim is not None and claim.request != asked.request)

    def _note_outcome(self, asked: Asked, word: str, new_due: int | None, billed: int) -> None:
        name = asked.tenant, asked.request
        outcome = self.outcomes.get(name)
        if outcome is not None and outcome.resolution is not None:
            return
        if word == "unbilled" and new_due is not None:
            self._list(asked, "unbilled", new_due)
        elif outcome is not None and (word == "late" or (word == "gone" and not asked.events)):
            self.outcomes[name] = replace(outcome, resolution="settled", resolved_units=billed)

    def _list(self, asked: Asked, kind: str, units: int) -> None:
        name = asked.tenant, asked.request
        old = self.outcomes.get(name, Outcome(kind, asked.start, asked.key, units))
        if old.resolution is None:
            self.outcomes[name] = replace(old, kind=kind, units=units)

    def _note_mark(self, asked: Asked, word: str, billed: int) -> None:
        claim = self.claims.get((asked.tenant, asked.mark)) if asked.mark else None
        if asked.mark is None or claim is None or claim.request != asked.request or claim.status is not None:
            return
        if word in {"settled", "late", "unbilled"} or not asked.events:
            left = self.remaining(asked.tenant, asked.start)
            self.claims[asked.tenant, asked.mark] = replace(claim, status=200, units=billed, remaining=left)

    def _lapse(self, asked: Asked) -> Answer:
        hold = self.holds[asked.tenant, asked.request]
        self._move(asked, -hold.units)
        del self.holds[asked.tenant, asked.request]
        self._list(asked, "unknown", hold.units)
        return ("lapsed",)

    def sweep(self) -> Answer:
        over = [(name, hold) for name, hold in self.holds.items() if hold.is_over]
        lapses = [
            Asked(kind=Kind.LAPSE, tenant=tenant, request=request, start=hold.start, key=hold.key)
            for (tenant, request), hold in over
        ]
        if lapses:
            self.flush(lapses)
        return ("swept", len(lapses))

    def resolve(self, asked: Asked) -> Answer:
        """End an open outcome for good: bill `units`, or nothing."""
        outcome = self.outcomes.get((asked.tenant, asked.request))
        if outcome is None or outcome.resolution is not None:
            return ("missing" if outcome is None else "resolved",)
        if asked.resolution == "billed" and asked.units > outcome.units:
            return ("excessive",)
        if asked.resolution == "billed":
            charge = replace(
                asked, kind=Kind.CHARGE, start=outcome.start, key=outcome.key, events=((-1, asked.units),)
            )
            if self.flush([charge])[0][0] in {"insufficient", "over-budget"}:
                return ("insufficient",)
        units = asked.units if asked.resolution == "billed" else 0
        ended = replace(outcome, resolution=asked.resolution, resolved_units=units)
        self.outcomes[asked.tenant, asked.request] = ended
        return ("ok",)

    def _warn_quota(self, tenant: UUID, start: date) -> None:
        pocket, used = self.periods[tenant, start], self.used(tenant, start)
        limit = self.limit(tenant, start)
        there_is = limit if self.is_free(tenant) else limit + pocket.drawn + self.prepaid_left(tenant)
        new = level(used, there_is) if there_is else 0
        self.periods[tenant, start] = replace(pocket, warned=new)
        if new > pocket.warned:
            self.warnings += ((tenant, start, None, new, used, limit),)

    def _warn_budget(self, tenant: UUID, key: UUID, start: date) -> None:
        pocket = self.budgets.get((tenant, key, start), Pocket())
        used, limit = self.used(tenant, start, key), self.keys[key]
        new = 0 if limit is None else level(used, limit)
        self.budgets[tenant, key, start] = replace(pocket, granted=limit, warned=new)
        if new > pocket.warned:
            self.warnings += ((tenant, start, key, new, used, limit),)

    def _warned(self, tenant: UUID, start: date, *key: UUID | None) -> int:
        if not key:
            return self.periods[tenant, start].warned
        return 0 if key[0] is None else self.budgets[tenant, key[0], start].warned
