"""Limits: the same object in plans, in overrides and on the wire."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

from fanfold.core.values import value


@value(kw_only=True)
class Limits:
    """What a tenant may use: units a calendar month (UTC), requests a minute, and the sizes of single requests.

    `weight` is its share of what tenants use together, beside the others'; `max_stored_bytes` is for the texts and
    answers of its jobs together.
    """

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
    weight: int
    max_stored_bytes: int

    @classmethod
    def of(cls, plan: Mapping[str, Any] | object, overrides: Mapping[str, Any]) -> Self:
        """Return a plan's limits with a tenant's overrides laid over them."""
        names = [field.name for field in fields(cls)]
        base = plan if isinstance(plan, Mapping) else {name: getattr(plan, name) for name in names}
        return cls(**{name: overrides.get(name, base[name]) for name in names})
