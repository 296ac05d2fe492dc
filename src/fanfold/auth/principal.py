"""Who asks: the value every request carries after authentication."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from fanfold.tenants.limits import Limits
from fanfold.tenants.periods import Period


class Scope(StrEnum):
    """What a credential may do. Reading a tenant's own objects needs none."""

    PROCESS = "process"
    JOBS = "jobs"
    USAGE_READ = "usage:read"
    KEYS_WRITE = "keys:write"
    UPSTREAMS_WRITE = "upstreams:write"
    WEBHOOKS_WRITE = "webhooks:write"
    MEMBERS_WRITE = "members:write"
    TENANT_WRITE = "tenant:write"
    OPERATOR = "operator"


TENANT_SCOPES = frozenset(Scope) - {Scope.OPERATOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalTenant:
    """The tenant a principal acts for, as it was at the last look, at most a second ago."""

    id: UUID
    slug: str
    is_active: bool
    limits: Limits
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """A key's own rate limit, beside its tenant's."""

    requests_per_minute: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A credential that holds. An operator's has no tenant; `max_concurrent_requests` is the key's own limit."""

    key_id: UUID
    scopes: frozenset[Scope]
    tenant: PrincipalTenant | None
    key_limits: KeyLimits | None = None
    max_concurrent_requests: int | None = None

    @property
    def tenant_id(self) -> UUID | None:
        """The tenant's id, or None for an operator."""
        return self.tenant.id if self.tenant else None
