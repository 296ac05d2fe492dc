"""Statements on the wire."""

import datetime as dt
from typing import Literal

from fanfold.core.schemas import AnswerModel, ReadModel
from fanfold.usage.statement import BILLED, Difference, LineKey, Source, Statement, Sums
from fanfold.usage.sums import midnight


class StatementLine(AnswerModel):
    """What one upstream's meter cost at one rate. `counted` of the `events` are of tokens that were counted here."""

    upstream: str | None
    meter: str
    rate: int | None
    quantity: int
    units: int
    events: int
    counted: int


class UnbilledLine(AnswerModel):
    """What was served but not billed, since nothing was free; it would have cost `due_units`."""

    upstream: str | None
    meter: str
    rate: int | None
    quantity: int
    events: int
    due_units: int


class StatementGrant(ReadModel):
    """Units granted beyond the plan's: for the period, or prepaid within it."""

    kind: Literal["period", "prepaid"]
    units: int
    reason: str
    created_at: dt.datetime


class StatementDifference(AnswerModel):
    """Where the books do not agree: `units` and `events` by the events, `units_found` and `events_found` by `place`.

    `counter` is the quota's own counter of the period that begins at `period_start`; `daily_sums` are those of a day,
    upstream, meter and rate.
    """

    place: Literal["counter", "daily_sums"]
    period_start: dt.datetime
    day: dt.date | None
    upstream: str | None
    meter: str | None
    rate: int | None
    units: int
    units_found: int
    events: int | None
    events_found: int | None


class StatementRead(AnswerModel):
    """A period's bill: `units` of all lines add up to `used`, the counter, or `balanced` is false.

    `source` says what the lines were added up from: after retention the single events are gone, their daily sums stay.
    `difference` is `used` less `units`. `prepaid_drawn` of the units held and used were drawn from the prepaid balance.
    """

    period: str
    period_start: dt.datetime
    period_end: dt.datetime
    granted: int
    reserved: int
    used: int
    units: int
    difference: int
    balanced: bool
    source: Source
    lines: list[StatementLine]
    unbilled: list[UnbilledLine]
    grants: list[StatementGrant]
    prepaid_drawn: int
    differences: list[StatementDifference]


def statement_read(statement: Statement) -> StatementRead:
    """Return the statement as it is sent."""
    billed = {key: sums for key, sums in statement.lines.items() if key.outcome == BILLED}
    unbilled = {key: sums for key, sums in statement.lines.items() if key.outcome != BILLED}
    return StatementRead(
        period=statement.period.name,
        period_start=midnight(statement.period.start),
        period_end=midnight(statement.period.end),
        granted=statement.granted,
        reserved=statement.reserved,
        used=statement.used,
        units=statement.units,
        difference=statement.used - statement.units,
        balanced=statement.is_balanced,
        source=statement.source,
        lines=[StatementLine.model_validate(_members(key, sums)) for key, sums in billed.items()],
        unbilled=[UnbilledLine.model_validate(_members(key, sums)) for key, sums in unbilled.items()],
        grants=[StatementGrant.model_validate(grant) for grant in statement.grants],
        prepaid_drawn=statement.prepaid,
        differences=[_difference(difference) for difference in statement.differences],
    )


def _members(key: LineKey, sums: Sums) -> dict[str, object]:
    return {**key._asdict(), **{name: getattr(sums, name) for name in sums.__slots__}}


def _difference(difference: Difference) -> StatementDifference:
    names = ("place", "day", "units", "units_found", "events", "events_found")
    shown = {name: getattr(difference, name) for name in names}
    line = difference.line._asdict()
    return StatementDifference.model_validate(
        {**shown, **line, "period_start": midnight(difference.period_start)}
    )
