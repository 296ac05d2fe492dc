"""What a step of the machine wishes for, drawn before it is known what is there, and what it asks for then.

Picks are numbers, taken modulo what there is: so what is drawn never hangs on how a race has ended.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import strategies as st

from fanfold.core.identifiers import uuid7
from tests.chaos.ledger_model import Asked, Hold, Kind, LedgerModel, start_of

T = TypeVar("T")
SHAPES = ("full", "full", "part", "two", "none", "over", "again", "other", "free")
SWEEPER, PERSON = 2, 3
POISON = 99
picks = st.integers(0, 63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    kind: Kind
    lane: int
    holder: int
    request: int
    units: int
    shape: str
    claim: str | None
    is_marked: bool
    is_repeated: bool
    is_poisoned: bool
    resolution: str


SWEEP = Wish(
    kind=Kind.SWEEP,
    lane=0,
    holder=0,
    request=0,
    units=0,
    shape="",
    claim=None,
    is_marked=False,
    is_repeated=False,
    is_poisoned=False,
    resolution="",
)


def _wish(number: int) -> Wish:
    """Return the wish of this number: one draw for all of it, since Hypothesis likes to repeat small ones."""
    chance = random.Random(number)
    return Wish(
        kind=chance.choices([Kind.RESERVE, Kind.SETTLE, Kind.RESOLVE, Kind.SWEEP], [4, 5, 1, 1])[0],
        lane=chance.randrange(2),
        holder=chance.randrange(64),
        request=chance.randrange(64),
        units=chance.randrange(31),
        shape=chance.choice(SHAPES),
        claim=chance.choice([None, None, None, "鍵", "k1"]),
        is_marked=chance.random() < 0.7,
        is_repeated=chance.random() < 0.06,
        is_poisoned=chance.random() < 0.06,
        resolution=chance.choice(["billed", "waived"]),
    )


wishes = st.integers(0, 2**64 - 1).map(_wish)


def pick(number: int, things: Sequence[T]) -> T:
    return things[number % len(things)]


@dataclass(slots=True)
class Desk:
    """Turns wishes into what is asked, and remembers the requests that were granted."""

    keys: dict[UUID, UUID] = field(default_factory=dict)
    sent: dict[UUID, Asked] = field(default_factory=dict)
    granted: list[Asked] = field(default_factory=list)
    last: dict[UUID, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def asked(self, model: LedgerModel, now: datetime, wished: Sequence[Wish]) -> list[Asked]:
        """Return what can be asked for; ids that would be reserved again once they are settled are left out."""
        batch: list[Asked] = []
        for wish in wished:
            one = self._one(model, now, wish)
            names = {asked.request for asked in batch}
            twice = [a for a in (one, *batch) if a and a.kind is Kind.RESERVE and a.request in self.sent]
            is_alone = one is None or one.lane < SWEEPER or all(a.lane != one.lane for a in batch)
            if one is not None and is_alone and not (twice and one.request in names):
                batch.append(one)
        return batch

    def note(self, asked: Sequence[Asked], answers: Sequence[Any]) -> None:
        for one, answer in zip(asked, answers, strict=True):
            if one.kind is Kind.RESERVE:
                self.sent[one.request] = one
                if answer[0] == "reserved" and one not in self.granted:
                    self.granted.append(one)

    def _one(self, model: LedgerModel, now: datetime, wish: Wish) -> Asked | None:
        if wish.kind is Kind.SWEEP:
            return Asked(kind=Kind.SWEEP, lane=SWEEPER)
        if wish.kind is Kind.RESOLVE:
            return self._resolve(model, wish)
        if wish.kind is Kind.SETTLE and self.granted:
            return self._settle(wish)
        return self._reserve(model, now, wish)

    def _reserve(self, model: LedgerModel, now: datetime, wish: Wish) -> Asked:
        holds = {name for name, hold in model.holds.items() if not hold.is_over}
        live = [one for one in self.granted if (one.tenant, one.request) in holds]
        if wish.is_repeated and live:
            one = pick(wish.request, live)
            return replace(one, start=start_of(now, one.period), lane=wish.lane)
        holders = [*((t, key) for key, t in self.keys.items()), *((tenant, None) for tenant in model.tenants)]
        tenant, key = pick(wish.holder, holders)
        period = model.plans[model.tenants[tenant].plan].period
        return Asked(
            kind=Kind.RESERVE,
            tenant=tenant,
            request=uuid7(),
            start=start_of(now, period),
            period=period,
            key=key,
            units=wish.units,
            claim=wish.claim,
            lane=wish.lane,
        )

    def _settle(self, wish: Wish) -> Asked:
        held = pick(wish.request, self.granted[-8:])
        units = held.units
        shapes = {
            "full": ((0, units),),
            "part": ((0, units // 2),),
            "two": ((0, units // 2), (1, units - units // 2)),
            "none": (),
            "over": ((0, units + 1 + wish.units % 5),),
            "again": self.last.get(held.request, ((0, units),)),
            "other": ((7, wish.units),),
            "free": ((0, 0),),
        }
        events = shapes[wish.shape]
        self.last[held.request] = events
        if wish.is_poisoned:
            events = (*events, (POISON, 0))
        return Asked(
            kind=Kind.SETTLE,
            tenant=held.tenant,
            request=held.request,
            start=held.start,
            key=held.key,
            units=units,
            events=events,
            mark=held.claim if wish.is_marked else None,
            is_poisoned=wish.is_poisoned,
            lane=wish.lane,
        )

    def _resolve(self, model: LedgerModel, wish: Wish) -> Asked | None:
        there = [name for name, one in model.outcomes.items() if wish.is_marked or one.resolution is None]
        if not there:
            return None
        tenant, request = pick(wish.request, there)
        return Asked(
            kind=Kind.RESOLVE,
            tenant=tenant,
            request=request,
            units=wish.units,
            resolution=wish.resolution,
            lane=PERSON,
        )


def ended(model: LedgerModel, numbers: Sequence[int]) -> dict[tuple[UUID, UUID], Hold]:
    """Return the holds that these picks name."""
    holds = list(model.holds.items())
    return dict(pick(number, holds) for number in numbers) if holds else {}
