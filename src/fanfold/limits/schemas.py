"""A tenant's own limits on the wire."""

from typing import Literal

from pydantic import Field

from fanfold.core.schemas import ReadModel
from fanfold.tenants.schemas import LimitsRead


class RateLimitRead(ReadModel):
    """How exactly the tenant's rate limit is kept at present, over all processes of the server."""

    store: Literal["postgres", "valkey", "memory"] = Field(description="Where the limit is kept.")
    may_exceed_by: int = Field(description="Requests that may pass beyond the burst and the rate, at most.")


class TenantLimitsRead(LimitsRead):
    """The limits that hold for the tenant, and how exactly they are kept. A quota is always exact."""

    period: Literal["day", "week", "month"] = Field(description="What `monthly_units` are for, UTC.")
    rate_limit: RateLimitRead
