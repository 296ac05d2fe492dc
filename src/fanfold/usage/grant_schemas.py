"""Grants on the wire."""

import datetime as dt
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from fanfold.core.schemas import ReadModel, Reason, StrictModel, Whole, with_example
from fanfold.tenants.schemas import UNITS_MAX


class GrantKind(StrEnum):
    """What granted units are for: the present period of the tenant's plan alone, or any, until they are used."""

    PERIOD = "period"
    PREPAID = "prepaid"


class GrantCreate(StrictModel):
    """Units to be granted; a negative number takes units back."""

    model_config = with_example(units=5_000, kind="prepaid", reason="Credit for the outage of 22 November")

    units: Annotated[Whole, Field(ge=-UNITS_MAX, le=UNITS_MAX, examples=[5_000])] = Field(
        description="Units to add, or, below 0, to take back: of those that were granted and are not drawn. Never 0."
    )
    kind: GrantKind = Field(
        default=GrantKind.PERIOD,
        description="period: for the present period; prepaid: never resets, used after the period's own.",
    )
    reason: Reason = Field(description="Why, for the records.")

    @field_validator("units")
    @classmethod
    def _not_nothing(cls, value: int) -> int:
        if value == 0:
            raise ValueError("must not be 0")
        return value


class GrantRead(ReadModel):
    """A grant as it was made. `period_start` is null for prepaid units; `granted_by` is the operator's key.

    What the command line granted has the nil UUID there.
    """

    id: UUID
    tenant_id: UUID
    kind: GrantKind
    period_start: dt.date | None
    units: int
    reason: str
    granted_by: UUID
    created_at: dt.datetime
