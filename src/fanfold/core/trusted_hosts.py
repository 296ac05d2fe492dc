"""For which names the server answers."""

import re
from collections.abc import Awaitable, Sequence
from ipaddress import AddressValueError, IPv6Address

from starlette.types import ASGIApp, Receive, Scope, Send

from fanfold.core.errors import MalformedRequest
from fanfold.core.hosts import ANY
from fanfold.core.paths import path_below_root
from fanfold.core.problems import problem

# Probes ask by address, and metrics are scraped by address: there is no name to be wrong.
EXEMPT_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_POLICY_VIOLATION = 1008  # WebSocket close code, RFC 6455, section 7.4.1
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*?)\.?(?::[0-9]{0,5})?")
_REFUSED = (
    "The Host header is none of the names of this server, or it is missing or sent twice. Its operator sets them in "
    "FANFOLD_ALLOWED_HOSTS."
)


class TrustedHostMiddleware:
    """Pure ASGI. Refuses requests for names that are not `allowed`: 400, a WebSocket's handshake is closed.

    Starlette's own answers in plain text, and redirects to an address that it makes of the header.
    """

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str]) -> None:
        self._app = app
        self._allows_any = ANY in allowed
        self._exact = frozenset(allowed)
        self._below = tuple(name[1:] for name in allowed if name.startswith("*."))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass on what is for us."""
        if scope["type"] == "lifespan" or self._allows(scope):
            return self._app(scope, receive, send)
        if scope["type"] == "http":
            return problem(MalformedRequest(_REFUSED), scope)(scope, receive, send)
        return send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    def _allows(self, scope: Scope) -> bool:
        host = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:  # of two a proxy may have judged the other one (RFC 9112, section 3.2)
                    return False
                host = value
        if self._allows_any or path_below_root(scope) in EXEMPT_PATHS:
            return True
        name = _sent(host) if host else ""
        return name in self._exact or name.endswith(self._below)


def _sent(value: bytes) -> str:
    """Return the name of a Host header without port and without the root's dot; empty where it is no name."""
    found = _HOST.fullmatch(value.lower())
    name = found[1].decode() if found else ""
    if not name.startswith("["):
        return name
    try:
        return f"[{IPv6Address(name[1:-1])}]"
    except AddressValueError:
        return ""
