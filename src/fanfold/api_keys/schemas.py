"""API keys on the wire."""

import datetime as dt
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from fanfold.auth.principal import TENANT_SCOPES, Scope
from fanfold.core.schemas import INT32_MAX, Moment, Name, OneOf, ReadModel, StrictModel, Whole, with_example
from fanfold.tenants.schemas import Units

MAX_GRACE_S = 7 * 24 * 3600

TenantScope = Annotated[str, OneOf(sorted(scope.value for scope in TENANT_SCOPES))]
Rate = Annotated[Whole, Field(ge=1, le=INT32_MAX)]
Budget = Annotated[
    Units, Field(description="Units that the key may spend a period; null: its tenant's quota alone holds.")
]
Scopes = Annotated[
    list[TenantScope],
    Field(
        min_length=1,
        max_length=20,
        description="What the key may do; reading upstreams, keys and limits needs none. "
        "`jobs`, `members:write` and `tenant:write` open nothing yet.",
    ),
]
PerMinute = Annotated[
    Rate, Field(description="Requests of the key a minute; null: its tenant's limit alone holds.")
]
Burst = Annotated[
    Rate, Field(description="Requests of the key at once, before `requests_per_minute` slows it.")
]
Concurrent = Annotated[
    Rate, Field(description="Requests of the key that may run at once; null: its tenant's limit alone holds.")
]


def _in_the_future(value: dt.datetime | None) -> dt.datetime | None:
    if value is not None and value <= dt.datetime.now(dt.UTC):
        raise ValueError("must lie in the future")
    return value


class ApiKeyCreate(StrictModel):
    """A key to be made. `burst` defaults to `requests_per_minute`; without either the tenant's limits alone hold."""

    model_config = with_example(name="nightly import", scopes=["process", "usage:read"])

    name: Name
    scopes: Scopes = Field(default=[Scope.PROCESS.value])
    expires_at: Moment | None = Field(default=None, description="From then on it is refused; null: never.")
    requests_per_minute: PerMinute | None = None
    burst: Burst | None = None
    max_concurrent_requests: Concurrent | None = None
    budget_units: Budget | None = None

    _future = field_validator("expires_at")(_in_the_future)

    @model_validator(mode="after")
    def _burst_needs_a_rate(self) -> "ApiKeyCreate":
        if self.burst is not None and self.requests_per_minute is None:
            raise ValueError("burst needs requests_per_minute")
        return self


class ApiKeyUpdate(StrictModel):
    """What may change of a key; members left out stay as they are."""

    model_config = with_example(name="weekly import", requests_per_minute=600)

    name: Name = ""
    scopes: Scopes = Field(default=[])
    expires_at: Moment | None = Field(default=None, description="From then on it is refused; null: never.")
    requests_per_minute: PerMinute | None = None
    burst: Burst | None = None
    max_concurrent_requests: Concurrent | None = None
    budget_units: Budget | None = None

    _future = field_validator("expires_at")(_in_the_future)


class ApiKeyRotate(StrictModel):
    """A new secret for a key that stays the same otherwise."""

    model_config = with_example(grace_s=86_400)

    grace_s: Annotated[Whole, Field(ge=0, le=MAX_GRACE_S)] = Field(
        default=0, description="Seconds for which the secret before it still holds, at most a week."
    )


class ApiKeyRead(ReadModel):
    """A key without its secret."""

    id: UUID
    name: str
    public_id: str = Field(description="The part of the key that may be shown: `ff_live_<public id>_...`")
    scopes: list[str]
    requests_per_minute: int | None
    burst: int | None
    max_concurrent_requests: int | None
    budget_units: int | None
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None
    previous_until: dt.datetime | None = Field(
        description="Until then the secret before the last rotation holds too."
    )
    last_used_at: dt.datetime | None = Field(description="To the minute; shown a little later.")
    created_by: UUID | None = Field(
        description="The person who made it; null: another key, or the command line."
    )


class ApiKeyIssued(ApiKeyRead):
    """A new key. `key` is shown here and never again."""

    key: str = Field(repr=False, examples=["ff_live_4uZ1kQx8Lm2P_0f3m...Zx_1Kd93q"])
