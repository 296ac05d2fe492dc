"""Sums of usage: of what is rolled up from the daily sums, of the rest from the events, without a gap or an overlap."""

import datetime as dt
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Numeric,
    ScalarSelect,
    Select,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from fanfold.core.values import value
from fanfold.usage.models import BilledEvent
from fanfold.usage.rolled import UsageDay, UsageRoll
from fanfold.usage.types import UsageLine


class GroupBy(StrEnum):
    """What a tenant's usage is summed by."""

    DAY = "day"
    UPSTREAM = "upstream"
    API_KEY = "api_key"


class OperatorGroupBy(StrEnum):
    """What the usage of all tenants is summed by."""

    TENANT = "tenant"
    DAY = "day"
    UPSTREAM = "upstream"
    API_KEY = "api_key"


@value(kw_only=True)
class UsageSpan:
    """Which events: those of a period, which add up to its `used`, or those of the days from `first` to `last`.

    Days are UTC's, by when an event occurred, and both count; None is no bound.
    """

    period_start: dt.date | None = None
    first: dt.date | None = None
    last: dt.date | None = None


DAY_OF_EVENT = cast(func.timezone("UTC", BilledEvent.occurred_at), Date)

_EVENTS: dict[str, ColumnElement[Any]] = {
    "tenant": BilledEvent.tenant_id.expression,
    "day": DAY_OF_EVENT,
    "upstream": BilledEvent.upstream.expression,
    "api_key": BilledEvent.api_key_id.expression,
}
# The group in the daily sums, and the dimension that has it with the fewest rows.
_DAYS: dict[str, tuple[ColumnElement[Any], str]] = {
    "tenant": (UsageDay.tenant_id.expression, "day"),
    "day": (UsageDay.day.expression, "day"),
    "upstream": (UsageDay.upstream.expression, "upstream"),
    "api_key": (UsageDay.api_key_id.expression, "api_key"),
}


@lru_cache(maxsize=64)  # an export asks once for each of its rows, which share a few days
def midnight(day: dt.date) -> dt.datetime:
    """Return the moment at which a day begins, UTC."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def rolled_until() -> ScalarSelect[Any]:
    """Return the moment before which everything is in the daily sums; it moves in one commit with them."""
    beginning: ColumnElement[Any] = literal_column("timestamptz '-infinity'")
    return select(func.coalesce(func.max(UsageRoll.rolled_until), beginning)).scalar_subquery()


def sums(group_by: GroupBy | OperatorGroupBy, span: UsageSpan, *, tenant_id: UUID | None) -> Select[Any]:
    """Return a statement of `group`, `units`, `events` and `unbilled`, in no order; None is all tenants.

    One statement, so one snapshot: what is rolled up meanwhile is counted once.
    """
    days, dimension = _DAYS[group_by]
    rolled = select(days.label("group"), UsageDay.units, UsageDay.events, UsageDay.unbilled).where(
        UsageDay.dimension == dimension, *_days_within(span)
    )
    is_unbilled = cast(case((BilledEvent.outcome == "unbilled", 1), else_=0), BigInteger)
    units = cast(BilledEvent.units, Numeric(30, 0))
    one = cast(literal(1), BigInteger)
    live = select(_EVENTS[group_by].label("group"), units, one, is_unbilled).where(
        BilledEvent.occurred_at >= rolled_until(), *_events_within(span)
    )
    if tenant_id is not None:
        rolled = rolled.where(UsageDay.tenant_id == tenant_id)
        live = live.where(BilledEvent.tenant_id == tenant_id)
    both = union_all(rolled, live).subquery()
    group, units_of, events_of, unbilled_of = both.c
    return select(
        group.label("group"),
        func.sum(units_of).label("units"),
        func.sum(events_of).label("events"),
        func.sum(unbilled_of).label("unbilled"),
    ).group_by(group)


def usage_line(row: Any) -> UsageLine:
    """Return one row of `sums`."""
    return UsageLine(
        group=row.group, units=int(row.units), events=int(row.events), unbilled=int(row.unbilled)
    )


def _days_within(span: UsageSpan) -> Iterator[ColumnElement[bool]]:
    if span.period_start is not None:
        yield UsageDay.period_start == span.period_start
    if span.first is not None:
        yield UsageDay.day >= span.first
    if span.last is not None:
        yield UsageDay.day <= span.last


def _events_within(span: UsageSpan) -> Iterator[ColumnElement[bool]]:
    if span.period_start is not None:
        yield BilledEvent.period_start == span.period_start
    if span.first is not None:
        yield BilledEvent.occurred_at >= midnight(span.first)
    if span.last is not None:
        yield BilledEvent.occurred_at < midnight(span.last) + dt.timedelta(days=1)
