"""A statement: lines that add up to the counter, or the place where they do not. Read it in one snapshot."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, case, func, null, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.values import value
from fanfold.usage.models import BilledEvent, Grant, QuotaPeriod
from fanfold.usage.period_names import NamedPeriod
from fanfold.usage.rolled import RemovedMonth, UsageDay
from fanfold.usage.sums import DAY_OF_EVENT, midnight, rolled_until

BILLED = "billed"


class Source(StrEnum):
    """What the lines were added up from; events that were removed by retention are in the daily sums."""

    EVENTS = "events"
    DAILY_SUMS = "daily_sums"
    BOTH = "both"


class LineKey(NamedTuple):
    """What a line is the sum of."""

    upstream: str | None
    meter: str | None
    rate: int | None
    outcome: str | None


class Place(NamedTuple):
    """Where sums are compared: a line on a day of a period. Of a day not rolled up yet, `day` is None."""

    period_start: dt.date
    day: dt.date | None
    line: LineKey


@dataclass(slots=True)
class Sums:
    """Added up from events, or from sums of them."""

    units: int = 0
    events: int = 0
    quantity: int = 0
    counted: int = 0
    due_units: int = 0

    def add(self, other: "Sums") -> None:
        """Add another's sums to these."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@value
class Difference:
    """Two books that do not agree: `units` and `events` by the events, `_found` by the counter or the daily sums.

    Of a counter, only `period_start` says which, and there is no count of events.
    """

    place: str
    period_start: dt.date
    units: int
    units_found: int
    day: dt.date | None = None
    line: LineKey = field(default=LineKey(None, None, None, None))
    events: int | None = None
    events_found: int | None = None


@value(kw_only=True)
class Statement:
    """A span's periods added up. `used` is what the counters say, `units` what the lines add up to."""

    period: NamedPeriod
    granted: int
    reserved: int
    used: int
    prepaid: int
    source: Source
    lines: Mapping[LineKey, Sums]
    grants: Sequence[Grant]
    differences: Sequence[Difference] = field(default=())

    @property
    def units(self) -> int:
        """What all lines add up to."""
        return sum(sums.units for sums in self.lines.values())

    @property
    def is_balanced(self) -> bool:
        """Whether all books agree, to the unit."""
        return self.used == self.units and not self.differences


class StatementRepository:
    """One tenant's books. Give it a snapshot: requests that run meanwhile would make them look off."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self._tenant_id = session, tenant_id

    async def statement(self, period: NamedPeriod) -> Statement:
        """Return the statement of all periods that begin within `period`."""
        counters = await self._counters(period)
        removed = await self._removed_months()
        from_events, from_days = await self._events(period), await self._days(period)
        books = _books(from_events, from_days, removed)
        lines: dict[LineKey, Sums] = defaultdict(Sums)
        for place, sums in books.items():
            lines[place.line].add(sums)
        return Statement(
            period=period,
            granted=sum(row.granted for row in counters),
            reserved=sum(row.reserved for row in counters),
            used=sum(row.used for row in counters),
            prepaid=sum(row.prepaid for row in counters),
            source=_source(books, removed),
            lines=dict(sorted(lines.items(), key=lambda item: tuple(map(str, item[0])))),
            grants=await self._grants(period),
            differences=[
                *_off_counters(counters, books),
                *_off_days(from_events, from_days, removed),
            ],
        )

    async def _counters(self, period: NamedPeriod) -> Sequence[QuotaPeriod]:
        rows = await self._session.scalars(
            select(QuotaPeriod)
            .where(
                QuotaPeriod.tenant_id == self._tenant_id,
                QuotaPeriod.period_start >= period.start,
                QuotaPeriod.period_start < period.end,
            )
            .order_by(QuotaPeriod.period_start)
        )
        return rows.all()

    async def _removed_months(self) -> frozenset[dt.date]:
        return frozenset(await self._session.scalars(select(RemovedMonth.month)))

    async def _grants(self, period: NamedPeriod) -> Sequence[Grant]:
        given_meanwhile = (Grant.created_at >= midnight(period.start)) & (
            Grant.created_at < midnight(period.end)
        )
        rows = await self._session.scalars(
            select(Grant)
            .where(
                Grant.tenant_id == self._tenant_id,
                or_(
                    Grant.period_start.between(period.start, period.end - dt.timedelta(days=1)),
                    (Grant.kind == "prepaid") & given_meanwhile,
                ),
            )
            .order_by(Grant.id)
        )
        return rows.all()

    async def _events(self, period: NamedPeriod) -> Mapping[Place, Sums]:
        """Add events up day by day: a month of millions takes longer than one statement may."""
        found: dict[Place, Sums] = defaultdict(Sums)
        for window in _windows(period):
            for place, sums in _places(await self._session.execute(self._between(period, *window))).items():
                found[place].add(sums)
        return found

    def _between(
        self, period: NamedPeriod, since: dt.datetime | None, until: dt.datetime | None
    ) -> Select[Any]:
        day = case((BilledEvent.occurred_at < rolled_until(), DAY_OF_EVENT), else_=null()).label("day")
        keys = (
            BilledEvent.period_start, day,
            BilledEvent.upstream, BilledEvent.meter, BilledEvent.rate, BilledEvent.outcome,
        )  # fmt: skip
        sums = select(
            *keys,
            func.sum(BilledEvent.units),
            func.count(),
            func.sum(BilledEvent.quantity),
            func.count().filter(BilledEvent.is_counted),
            func.sum(BilledEvent.due_units),
        ).where(
            BilledEvent.tenant_id == self._tenant_id,
            BilledEvent.period_start >= period.start,
            BilledEvent.period_start < period.end,
        )
        if since is not None:
            sums = sums.where(BilledEvent.occurred_at >= since)
        if until is not None:
            sums = sums.where(BilledEvent.occurred_at < until)
        return sums.group_by(*keys)

    async def _days(self, period: NamedPeriod) -> Mapping[Place, Sums]:
        rows = await self._session.execute(
            select(
                UsageDay.period_start, UsageDay.day, UsageDay.upstream, UsageDay.meter, UsageDay.rate, UsageDay.outcome,
                UsageDay.units, UsageDay.events, UsageDay.quantity, UsageDay.counted, UsageDay.due_units,
            ).where(
                UsageDay.tenant_id == self._tenant_id,
                UsageDay.dimension == "upstream",
                UsageDay.period_start >= period.start,
                UsageDay.period_start < period.end,
            )
        )  # fmt: skip
        return _places(rows)


def _windows(period: NamedPeriod) -> Iterator[tuple[dt.datetime | None, dt.datetime | None]]:
    """Yield spans of a day that leave no moment out: what was settled after the period's end is in the last."""
    days = [period.start + dt.timedelta(days=day) for day in range(1, (period.end - period.start).days + 1)]
    bounds = [None, *map(midnight, days), None]
    yield from pairwise(bounds)


def _places(rows: Iterable[Any]) -> dict[Place, Sums]:
    return {
        Place(period_start, day, LineKey(upstream, meter, rate, outcome)): Sums(*(int(each) for each in sums))
        for period_start, day, upstream, meter, rate, outcome, *sums in rows
    }


def _is_removed(place: Place, removed: frozenset[dt.date]) -> bool:
    return place.period_start.replace(day=1) in removed


def _books(
    events: Mapping[Place, Sums], days: Mapping[Place, Sums], removed: frozenset[dt.date]
) -> dict[Place, Sums]:
    """Return the events' sums; in their place the daily ones, for months whose events are gone."""
    return {**events, **{place: sums for place, sums in days.items() if _is_removed(place, removed)}}


def _source(books: Mapping[Place, Sums], removed: frozenset[dt.date]) -> Source:
    found = {_is_removed(place, removed) for place in books}
    return Source.BOTH if len(found) > 1 else Source.DAILY_SUMS if True in found else Source.EVENTS


def _off_counters(counters: Sequence[QuotaPeriod], books: Mapping[Place, Sums]) -> Iterator[Difference]:
    by_period: dict[dt.date, int] = defaultdict(int)
    for place, sums in books.items():
        by_period[place.period_start] += sums.units
    used = {row.period_start: row.used for row in counters}
    for start in sorted(by_period.keys() | used.keys()):
        if by_period[start] != used.get(start, 0):
            yield Difference("counter", start, by_period[start], used.get(start, 0))


def _off_days(
    events: Mapping[Place, Sums], days: Mapping[Place, Sums], removed: frozenset[dt.date]
) -> Iterator[Difference]:
    nothing = Sums()
    for place in sorted(events.keys() | days.keys(), key=str):
        if place.day is None or _is_removed(place, removed):
            continue
        told, found = events.get(place, nothing), days.get(place, nothing)
        if told != found:
            yield Difference(
                "daily_sums", place.period_start, told.units, found.units,
                day=place.day, line=place.line, events=told.events, events_found=found.events,
            )  # fmt: skip
