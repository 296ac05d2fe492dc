"""Usage on the wire."""

import datetime as dt
from uuid import UUID

from pydantic import BaseModel


class UsageGroup(BaseModel):
    """Sums of one group; only the member grouped by is filled. `unbilled` events were served, but not billed."""

    day: dt.date | None = None
    upstream: str | None = None
    api_key: UUID | None = None
    units: int
    events: int
    unbilled: int


class UsageAnswer(BaseModel):
    """The present period's units, and what was used by group. `remaining` is null where overage is allowed."""

    period_start: dt.datetime
    period_end: dt.datetime
    granted: int
    reserved: int
    used: int
    remaining: int | None
    data: list[UsageGroup]
