"""Usage events on the wire."""

import datetime as dt
from typing import Literal
from uuid import UUID

from fanfold.core.schemas import AnswerModel


class UsageEventRead(AnswerModel):
    """One meter of one accepted answer.

    `id` is the event's own and never changes. `quantity` is in the meter's measure; `rate` is units per call, or per
    1,000 of the measure. `unbilled` events cost nothing, and would have cost `due_units`. `is_counted`: the upstream
    reported no tokens, they were counted here. `period_start` is the period that pays, also where it ended before.
    """

    id: str
    request_id: UUID
    call_index: int
    meter: str
    quantity: int
    units: int
    rate: int | None
    outcome: Literal["billed", "unbilled"]
    upstream: str | None
    api_key: UUID | None
    period_start: dt.datetime
    occurred_at: dt.datetime
    is_counted: bool
    due_units: int


class CloudEventData(AnswerModel):
    """What a usage event says, as its CloudEvent carries it."""

    request_id: UUID
    call_index: int
    meter: str
    quantity: int
    units: int
    rate: int | None
    outcome: Literal["billed", "unbilled"]
    upstream: str | None
    api_key: UUID | None
    period_start: dt.datetime
    is_counted: bool
    due_units: int


class CloudEvent(AnswerModel):
    """A usage event in the form of CloudEvents 1.0; `subject` is the tenant's id, `time` when the event occurred."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: dt.datetime
    datacontenttype: Literal["application/json"]
    data: CloudEventData
