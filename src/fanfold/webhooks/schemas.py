"""Webhooks on the wire."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from fanfold.core.schemas import (
    AnswerModel,
    Flag,
    OneOf,
    ReadModel,
    StrictModel,
    Whole,
    printable,
    with_example,
)
from fanfold.webhooks.events import EVENTS

MAX_GRACE_S = 7 * 24 * 3600
DAY_S = 24 * 3600


def _each_once(events: list[str] | None) -> list[str] | None:
    return sorted(set(events)) if events is not None else None


EventType = Annotated[str, OneOf(EVENTS)]
Events = Annotated[
    list[EventType] | None,
    Field(min_length=1, max_length=50, description="Which events it is told of; null: all of them."),
    AfterValidator(_each_once),
]
Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000),
    Field(
        description="Where events are sent: `https://`; plain `http://` only within networks that the operator allows.",
        examples=["https://example.com/hooks/fanfold"],
    ),
]
Description = Annotated[
    str,
    StringConstraints(max_length=500, strip_whitespace=True),
    AfterValidator(printable),
    Field(description="For people to read, in any script."),
]


class WebhookCreate(StrictModel):
    """A webhook to be registered."""

    model_config = with_example(
        url="https://example.com/hooks/fanfold",
        events=["job.finished", "quota.warning"],
        description="billing",
    )

    url: Url
    events: Events = None
    description: Description = ""
    enabled: Flag = Field(default=True, description="False: it is told of nothing until it is enabled.")


class WebhookUpdate(StrictModel):
    """What may change of a webhook; members left out stay as they are."""

    model_config = with_example(events=["job.finished"], enabled=True)

    url: Url = ""
    events: Events = None
    description: Description = ""
    enabled: Flag = Field(
        default=True,
        description="False ends what still waits for it as `dead`; true lets new events come, also after the server "
        "disabled it.",
    )


class WebhookRotate(StrictModel):
    """A new secret for a webhook."""

    model_config = with_example(grace_s=DAY_S)

    grace_s: Annotated[Whole, Field(ge=0, le=MAX_GRACE_S)] = Field(
        default=DAY_S,
        description="Seconds for which the secret before it signs too, so that receivers can be changed meanwhile.",
    )


class WebhookRead(ReadModel):
    """A webhook without its secret."""

    id: UUID
    url: str
    events: list[str] | None
    description: str
    enabled: bool
    disabled_reason: str | None = Field(
        description="Why the server disabled it: `gone` (it answered 410) or `failing` (nothing but failures for five "
        "days). Null: nobody did, or somebody by hand."
    )
    failing_since: dt.datetime | None = Field(
        description="The first failure since the last success; null: the last attempt was delivered."
    )
    previous_until: dt.datetime | None = Field(
        description="Until then the secret before the last rotation signs too."
    )
    created_at: dt.datetime
    updated_at: dt.datetime


class WebhookIssued(WebhookRead):
    """A webhook and its secret, which is shown here and never again."""

    secret: str = Field(repr=False, examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class WebhookTrial(AnswerModel):
    """What came of a test event."""

    success: bool
    event_id: UUID = Field(description="The `webhook-id` it was sent under.")
    status_code: int | None = Field(description="The receiver's HTTP status; null where none came.")
    latency_ms: float
    error: str | None = Field(description="What is wrong and what to change; null on success.")
    answer: str | None = Field(description="The first 4 KiB of what the receiver answered.")
