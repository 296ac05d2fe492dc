"""Whose limits on concurrent requests a request counts against: its tenant's, and its key's own."""

from starlette.types import Scope as AsgiScope

from fanfold.auth.buckets import is_unlimited
from fanfold.auth.principal import Principal
from fanfold.ratelimit.concurrency.base import Holder


def holders_of(scope: AsgiScope) -> tuple[Holder, ...]:
    """Return a request's holders; none for strangers, for operators and for the paths that are not limited."""
    state = scope.get("state", {})
    principal: Principal | None = state.get("principal")
    if principal is None or principal.tenant is None or ("route" not in state and is_unlimited(scope)):
        return ()
    holders = holders_of_principal(principal)
    return tuple(map(_of_sockets, holders)) if scope["type"] == "websocket" else holders


def _of_sockets(holder: Holder) -> Holder:
    # An open socket is no request: those that it carries are. So many of them may be open as requests may run.
    return Holder(holder.name, f"sockets:{holder.key}", holder.limit)


def holders_of_principal(principal: Principal) -> tuple[Holder, ...]:
    """Return the holders of whoever this is: for those who say it later than in the request's headers."""
    try:
        holders: tuple[Holder, ...] = principal.made[Holder]
    except KeyError:
        holders = principal.made[Holder] = _holders(principal)
    return holders


def _holders(principal: Principal) -> tuple[Holder, ...]:
    if principal.tenant is None:
        return ()
    tenant = Holder(
        "tenant", f"tenant:{principal.tenant.id}", principal.tenant.limits.max_concurrent_requests
    )
    if principal.max_concurrent_requests is None:
        return (tenant,)
    return (tenant, Holder("key", f"key:{principal.id}", principal.max_concurrent_requests))
