"""Who asks: the value every request carries after authentication."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Self
from uuid import UUID

from fanfold.core.values import value
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


class Role(StrEnum):
    """A member's part in a tenant. An owner may, beyond an admin, name owners and delete the tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


_VIEWER = frozenset({Scope.USAGE_READ})
ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.OWNER: TENANT_SCOPES,
    Role.ADMIN: TENANT_SCOPES,
    Role.DEVELOPER: _VIEWER | {Scope.PROCESS, Scope.JOBS, Scope.UPSTREAMS_WRITE},
    Role.VIEWER: _VIEWER,
}


@value(kw_only=True)
class PrincipalTenant:
    """The tenant a principal acts for, as it was at the last look, at most a second ago."""

    id: UUID
    slug: str
    status: str
    limits: Limits
    period: Period

    @property
    def is_active(self) -> bool:
        """Whether its requests are let in: it is neither suspended nor deleted."""
        return self.status == "active"

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the tenant of a row of `authenticate` or `authenticate_session`."""
        return cls(
            id=row["tenant_id"],
            slug=row["tenant_slug"],
            status=row["tenant_status"],
            limits=Limits.of(row["limits"], {}),
            period=Period(row["limits"]["period"]),
        )


@value(kw_only=True)
class KeyLimits:
    """A key's own rate limit, beside its tenant's."""

    requests_per_minute: int
    burst: int


class PrincipalKind(StrEnum):
    """What kind of credential was sent, and with it whose `Principal.id` is."""

    API_KEY = "api_key"
    OPERATOR_KEY = "operator_key"
    CLIENT = "client"
    USER = "user"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A credential that holds; `id` is the key's, the OAuth client's or the person's.

    An operator has no tenant, nor has a person who belongs to none or chose none. `session_id` is the sign-in that an
    access token rests on, `role` the person's in the tenant; `max_concurrent_requests` is the key's own limit.
    """

    kind: PrincipalKind
    id: UUID
    scopes: frozenset[Scope]
    tenant: PrincipalTenant | None
    session_id: UUID | None = None
    role: Role | None = None
    key_limits: KeyLimits | None = None
    max_concurrent_requests: int | None = None

    @cached_property
    def made(self) -> dict[object, Any]:
        """What was made of it for the second that it is kept: its buckets, its holders."""
        return {}

    @property
    def api_key_id(self) -> UUID | None:
        """The tenant's API key, which has a budget and limits of its own; None for everybody else."""
        return self.id if self.kind is PrincipalKind.API_KEY else None

    @cached_property
    def tenant_id(self) -> UUID | None:
        """The tenant's id, or None for an operator."""
        return self.tenant.id if self.tenant else None
