"""Outcomes that a person may have to look at, on the wire."""

import datetime as dt
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from fanfold.core.schemas import ReadModel, Reason, StrictModel, Whole, with_example
from fanfold.tenants.schemas import UNITS_MAX


class OutcomeKind(StrEnum):
    """What is open: whether anything was served, or who pays for what was."""

    UNKNOWN = "unknown"
    UNBILLED = "unbilled"


class OutcomeState(StrEnum):
    """Which outcomes to list."""

    OPEN = "open"
    RESOLVED = "resolved"
    ALL = "all"


class Resolution(StrEnum):
    """What an operator decides: the tenant pays, or nobody does."""

    BILLED = "billed"
    WAIVED = "waived"


class OutcomeResolve(StrictModel):
    """How an open outcome ends; for good."""

    model_config = with_example(
        resolution="waived", reason="The server was restarted; nothing had been answered."
    )

    resolution: Resolution = Field(
        description="billed charges units to the request's period, waived charges none."
    )
    units: Annotated[Whole, Field(ge=0, le=UNITS_MAX)] | None = Field(
        default=None,
        description="Units to bill, at most the outcome's; all of them without it. Only with `billed`.",
    )
    reason: Reason = Field(description="Why, for the records.")

    @model_validator(mode="after")
    def _units_of_a_bill(self) -> "OutcomeResolve":
        if self.units is not None and self.resolution is not Resolution.BILLED:
            raise ValueError("units go with billed alone")
        return self


class OutcomeRead(ReadModel):
    """A request whose bill is or was in doubt.

    unknown: its process ended without a word, and `units` were held for it. unbilled: it was served when nothing was
    free any more, and `units` are what it would have cost. `resolution` settled: its own late bill came after all.
    Of a job: `job_id`, and `calls`, which a lost worker had under way or which could not be billed.
    """

    request_id: UUID
    kind: OutcomeKind
    period_start: dt.date
    api_key_id: UUID | None
    units: int
    since: dt.datetime
    resolved_at: dt.datetime | None
    resolution: Literal["billed", "waived", "settled"] | None
    resolved_units: int | None
    job_id: UUID | None
    calls: int | None


class OperatorOutcomeRead(OutcomeRead):
    """An outcome as operators see it. `resolved_by` is the operator's key; the nil UUID for the command line."""

    tenant_id: UUID
    reason: str | None
    resolved_by: UUID | None
