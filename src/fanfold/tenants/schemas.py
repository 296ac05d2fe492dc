"""Tenants and limits on the wire."""

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from fanfold.core.schemas import INT32_MAX, Flag, Name, ReadModel, Slug, StrictModel, Whole, with_example

UNITS_MAX = 10**15

Units = Annotated[Whole, Field(ge=0, le=UNITS_MAX)]
Count = Annotated[Whole, Field(ge=0, le=INT32_MAX)]
Positive = Annotated[Whole, Field(ge=1, le=INT32_MAX)]
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
    "retention_days": "For what is to come: nothing reads it yet. Usage events have their own retention.",
}


def _limit(name: str, **default: Any) -> Any:
    return Field(description=_LIMITS[name], **default)


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


class TenantCreate(StrictModel):
    """A tenant to be made; `name` defaults to the slug."""

    model_config = with_example(slug="acme", name="Acme", plan="pro")

    slug: Slug = Field(description="Its short name, never changed: a-z, 0-9 and `-`.")
    name: Name | None = None
    plan: Slug = Field(default="free", description="`free`, `pro` or `scale`.")


class TenantUpdate(StrictModel):
    """What may change of a tenant; members left out stay as they are."""

    model_config = with_example(plan="scale")

    name: Name = ""
    plan: Slug = Field(default="", description="`free`, `pro` or `scale`.")


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
