"""Tenants and limits on the wire."""

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import INT32_MAX, Flag, Name, ReadModel, Slug, StrictModel, Whole, with_example
from fanfold.tenants.periods import Period

UNITS_MAX = 10**15

Units = Annotated[Whole, Field(ge=0, le=UNITS_MAX)]
Count = Annotated[Whole, Field(ge=0, le=INT32_MAX)]
Positive = Annotated[Whole, Field(ge=1, le=INT32_MAX)]
Weight = Annotated[Whole, Field(ge=1, le=1000)]
StoredBytes = Annotated[Whole, Field(ge=0, le=10**15)]
_LIMITS = {
    "monthly_units": "Units of a period of the plan, which is a day, a week or a month whatever this name says.",
    "requests_per_minute": "Requests a minute, of all keys together.",
    "burst": "Requests at once, before `requests_per_minute` slows them.",
    "max_concurrent_requests": "Requests that may run at once.",
    "max_text_chars": "Code points of a text.",
    "max_chunks": "Chunks of a text.",
    "max_upstreams": "Upstreams that may be registered.",
    "max_api_keys": "API keys that may hold.",
    "overage_allowed": "Whether requests go on, and are billed, beyond the units.",
    "weight": "Share of the upstreams' slots that tenants wait for together, beside the weights of the others.",
    "retention_days": "Days for which jobs keep their texts and answers. Usage events have their own retention.",
    "max_stored_bytes": "Bytes that the texts and answers of jobs may take together.",
}


_PERIOD = "What `monthly_units` are for: a `day`, a `week` from Monday on, or a calendar `month`, UTC."


def _limit(name: str, **default: Any) -> Any:
    return Field(description=_LIMITS[name], **default)


class PlanCreate(StrictModel):
    """A plan to be made: limits that its tenants share, and the period that its units are for."""

    model_config = with_example(
        code="team",
        monthly_units=25_000,
        requests_per_minute=300,
        burst=60,
        max_concurrent_requests=20,
        max_text_chars=1_000_000,
        max_chunks=2_000,
        max_upstreams=20,
        max_api_keys=20,
        retention_days=30,
    )

    code: Slug = Field(description="Its name, never changed: a-z, 0-9 and `-`.")
    monthly_units: Units = _limit("monthly_units")
    requests_per_minute: Positive = _limit("requests_per_minute")
    burst: Positive = _limit("burst")
    max_concurrent_requests: Positive = _limit("max_concurrent_requests")
    max_text_chars: Positive = _limit("max_text_chars")
    max_chunks: Positive = _limit("max_chunks")
    max_upstreams: Count = _limit("max_upstreams")
    max_api_keys: Count = _limit("max_api_keys")
    overage_allowed: Flag = _limit("overage_allowed", default=False)
    retention_days: Positive = _limit("retention_days")
    weight: Weight = _limit("weight", default=1)
    max_stored_bytes: StoredBytes = _limit("max_stored_bytes", default=100_000_000)
    period: Period = Field(default=Period.MONTH, description=_PERIOD)


class PlanUpdate(StrictModel):
    """What may change of a plan, for all its tenants; members left out stay as they are."""

    model_config = with_example(monthly_units=30_000)

    monthly_units: Units = _limit("monthly_units", default=0)
    requests_per_minute: Positive = _limit("requests_per_minute", default=1)
    burst: Positive = _limit("burst", default=1)
    max_concurrent_requests: Positive = _limit("max_concurrent_requests", default=1)
    max_text_chars: Positive = _limit("max_text_chars", default=1)
    max_chunks: Positive = _limit("max_chunks", default=1)
    max_upstreams: Count = _limit("max_upstreams", default=0)
    max_api_keys: Count = _limit("max_api_keys", default=0)
    overage_allowed: Flag = _limit("overage_allowed", default=False)
    retention_days: Positive = _limit("retention_days", default=1)
    weight: Weight = _limit("weight", default=1)
    max_stored_bytes: StoredBytes = _limit("max_stored_bytes", default=0)
    period: Period = Field(default=Period.MONTH, description=_PERIOD)


TenantStatus = Literal["active", "suspended", "deleted"]


class LimitsRead(ReadModel):
    """The limits that hold for a tenant: its plan's, with its overrides laid over them."""

    monthly_units: int = _limit("monthly_units")
    requests_per_minute: int = _limit("requests_per_minute")
    burst: int = _limit("burst")
    max_concurrent_requests: int = _limit("max_concurrent_requests")
    max_text_chars: int = _limit("max_text_chars")
    max_chunks: int = _limit("max_chunks")
    max_upstreams: int = _limit("max_upstreams")
    max_api_keys: int = _limit("max_api_keys")
    overage_allowed: bool = _limit("overage_allowed")
    retention_days: int = _limit("retention_days")
    weight: int = _limit("weight")
    max_stored_bytes: int = _limit("max_stored_bytes")


class LimitsUpdate(StrictModel):
    """Overrides to set; null takes one away, a member left out stays as it is."""

    model_config = with_example(monthly_units=250_000, burst=None)

    monthly_units: Units | None = _limit("monthly_units", default=None)
    requests_per_minute: Positive | None = _limit("requests_per_minute", default=None)
    burst: Positive | None = _limit("burst", default=None)
    max_concurrent_requests: Positive | None = _limit("max_concurrent_requests", default=None)
    max_text_chars: Positive | None = _limit("max_text_chars", default=None)
    max_chunks: Positive | None = _limit("max_chunks", default=None)
    max_upstreams: Count | None = _limit("max_upstreams", default=None)
    max_api_keys: Count | None = _limit("max_api_keys", default=None)
    overage_allowed: Flag | None = _limit("overage_allowed", default=None)
    retention_days: Positive | None = _limit("retention_days", default=None)
    weight: Weight | None = _limit("weight", default=None)
    max_stored_bytes: StoredBytes | None = _limit("max_stored_bytes", default=None)


class PlanRead(LimitsRead):
    """A plan: its limits hold for all its tenants, but for their overrides."""

    code: str
    period: Period


class TenantCreate(StrictModel):
    """A tenant to be made; `name` defaults to the slug."""

    model_config = with_example(slug="acme", name="Acme", plan="pro")

    slug: Slug = Field(description="Its short name, never changed: a-z, 0-9 and `-`.")
    name: Name | None = None
    plan: Slug = Field(
        default="free", description="A plan's code: `free`, `pro`, `scale`, or one of your own."
    )


class TenantUpdate(StrictModel):
    """What may change of a tenant; members left out stay as they are."""

    model_config = with_example(plan="scale")

    name: Name = ""
    plan: Slug = Field(default="", description="A plan's code: `free`, `pro`, `scale`, or one of your own.")


class TenantRead(ReadModel):
    """A tenant as its operator sees it."""

    id: UUID
    slug: str
    name: str
    status: TenantStatus
    plan: str
    limits: LimitsRead
    limit_overrides: dict[str, Any]
    created_at: dt.datetime
    updated_at: dt.datetime
    erase_at: dt.datetime | None = Field(
        description="When a deleted one will be erased; until then it can be resumed."
    )
    erased_at: dt.datetime | None
