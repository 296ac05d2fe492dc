"""The log of deliveries on the wire."""

import datetime as dt
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import ReadModel


class DeliveryStatus(StrEnum):
    """Where a delivery stands: on its way, taken by the receiver, or given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryRead(ReadModel):
    """One event for one webhook. What says how it went is of the last attempt."""

    id: UUID
    webhook_id: UUID
    event_id: UUID = Field(
        description="The `webhook-id` of every attempt: by it a receiver knows what it has already."
    )
    type: str = Field(examples=["job.finished"])
    status: DeliveryStatus
    attempts: int
    created_at: dt.datetime
    next_attempt_at: dt.datetime | None
    ended_at: dt.datetime | None
    status_code: int | None = Field(description="The receiver's HTTP status; null where none came.")
    latency_ms: float | None
    error: str | None = Field(description="What was wrong and what to change.")
    body: str = Field(description="What is sent, letter by letter.")
    answer: str | None = Field(description="The first 4 KiB of what the receiver answered.")


class AttemptRead(ReadModel):
    """One attempt at a delivery."""

    number: int
    at: dt.datetime
    status_code: int | None
    latency_ms: float
    error: str | None
    answer: str | None


class DeliveryWithAttempts(DeliveryRead):
    """A delivery and its attempts, the last 50, the newest first."""

    tries: list[AttemptRead]
