"""Which rate limits a request counts against: its tenant's, its key's own, or its address's for strangers."""

from collections.abc import Callable, Sequence

from starlette.types import Scope as AsgiScope

from fanfold.auth.principal import Principal, PrincipalTenant, Scope
from fanfold.core.config import IPNetwork
from fanfold.core.paths import path_below_root
from fanfold.ratelimit.base import Bucket
from fanfold.ratelimit.client_address import address_key, client_address

STRANGER_REQUESTS_PER_MINUTE, STRANGER_BURST = 60, 20
OPERATOR_REQUESTS_PER_MINUTE, OPERATOR_BURST = 6_000, 500

# Those who look after a server must see it while it refuses everybody else.
UNLIMITED_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json"})
UNLIMITED_PREFIXES = ("/docs/assets/", "/problems/")


def buckets_of(trusted_proxies: Sequence[IPNetwork]) -> Callable[[AsgiScope], tuple[Bucket, ...]]:
    """Return the function that names a request's buckets; none for the paths that are not limited."""

    def buckets(scope: AsgiScope) -> tuple[Bucket, ...]:
        state = scope.get("state", {})
        if "route" not in state and is_unlimited(scope):  # no route that requires something is
            return ()
        principal: Principal | None = state.get("principal")
        if principal is None:
            return (stranger_bucket(scope, trusted_proxies),)
        return buckets_of_principal(principal)

    return buckets


def is_unlimited(scope: AsgiScope) -> bool:
    """Whether a request is for what everybody may always see."""
    path = path_below_root(scope)
    return path in UNLIMITED_PATHS or path.startswith(UNLIMITED_PREFIXES)


def tenant_bucket(tenant: PrincipalTenant) -> Bucket:
    """Return the bucket that all requests of a tenant count against."""
    return Bucket("tenant", str(tenant.id), tenant.limits.requests_per_minute, tenant.limits.burst)


def stranger_bucket(scope: AsgiScope, trusted_proxies: Sequence[IPNetwork]) -> Bucket:
    """Return the bucket of a client that has not said who it is: that of its address."""
    address = address_key(client_address(scope, trusted_proxies))
    return Bucket("address", address, STRANGER_REQUESTS_PER_MINUTE, STRANGER_BURST)


def buckets_of_principal(principal: Principal) -> tuple[Bucket, ...]:
    """Return the buckets of whoever this is: a handshake counts against them, and each message after it."""
    try:
        buckets: tuple[Bucket, ...] = principal.made[Bucket]
    except KeyError:
        buckets = principal.made[Bucket] = _buckets(principal)
    return buckets


def _buckets(principal: Principal) -> tuple[Bucket, ...]:
    key = str(principal.id)
    if Scope.OPERATOR in principal.scopes:
        return (Bucket("operator", key, OPERATOR_REQUESTS_PER_MINUTE, OPERATOR_BURST),)
    if principal.tenant is None:
        return (Bucket("person", key, STRANGER_REQUESTS_PER_MINUTE, STRANGER_BURST),)
    tenant = tenant_bucket(principal.tenant)
    if principal.key_limits is None:
        return (tenant,)
    own = principal.key_limits
    return (tenant, Bucket("key", key, own.requests_per_minute, own.burst))
