"""Usage on the wire."""

import datetime as dt
from uuid import UUID

from fanfold.core.schemas import AnswerModel, ReadModel


class Budget(ReadModel):
    """What an API key may spend of the present period; `warning` is 80 or 100 once so many percent are used."""

    granted: int
    reserved: int
    used: int
    remaining: int
    warning: int | None


class Prepaid(ReadModel):
    """Units that never reset, drawn once the period's own are used up; `drawn` counts all periods."""

    granted: int
    drawn: int
    remaining: int


class UsageGroup(AnswerModel):
    """Sums of one group; only the member grouped by is filled. `unbilled` events were served, but not billed.

    `budget` is that of an API key that holds and has one, for the present period whatever the days.
    """

    day: dt.date | None = None
    upstream: str | None = None
    api_key: UUID | None = None
    budget: Budget | None = None
    units: int
    events: int
    unbilled: int


class UsageAnswer(AnswerModel):
    """The present period's units, and what was used by group.

    `granted` is the limit and the period's grants; `remaining` is what may still be used, prepaid units among it, null
    where overage is allowed. `warning` is 80 or 100 once so many percent are used, `prepaid` null without a balance.
    """

    period_start: dt.datetime
    period_end: dt.datetime
    granted: int
    reserved: int
    used: int
    remaining: int | None
    warning: int | None
    prepaid: Prepaid | None
    data: list[UsageGroup]
