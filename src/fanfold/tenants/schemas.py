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
TenantStatus = Literal["active", "suspended"]


class LimitsRead(ReadModel):
    """The limits that hold for a tenant: its plan's, with its overrides laid over them."""

    monthly_units: int
    requests_per_minute: int
    burst: int
    max_concurrent_requests: int
    max_text_chars: int
    max_chunks: int
    max_upstreams: int
    max_api_keys: int
    overage_allowed: bool
    retention_days: int


class LimitsUpdate(StrictModel):
    """Overrides to set; null takes one away, a member left out stays as it is."""

    model_config = with_example(monthly_units=250_000, burst=None)

    monthly_units: Units | None = None
    requests_per_minute: Positive | None = None
    burst: Positive | None = None
    max_concurrent_requests: Positive | None = None
    max_text_chars: Positive | None = None
    max_chunks: Positive | None = None
    max_upstreams: Count | None = None
    max_api_keys: Count | None = None
    overage_allowed: Flag | None = None
    retention_days: Positive | None = None


class TenantCreate(StrictModel):
    """A tenant to be made; `name` defaults to the slug."""

    model_config = with_example(slug="acme", name="Acme", plan="pro")

    slug: Slug
    name: Name | None = None
    plan: Slug = "free"


class TenantUpdate(StrictModel):
    """What may change of a tenant; members left out stay as they are."""

    model_config = with_example(plan="scale")

    name: Name = ""
    plan: Slug = ""


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
