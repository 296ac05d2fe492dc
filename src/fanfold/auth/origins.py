"""Which web pages may open a WebSocket: CORS does not hold there, browsers connect to anywhere and tell who asks."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import Scope as AsgiScope

from fanfold.core.hosts import ANY, origin


class Origins:
    """The server's own origin and those of `CORS_ORIGINS`. Whoever sends no Origin is no page, and may."""

    def __init__(self, own_url: str, allowed: Collection[str]) -> None:
        parts = urlsplit(own_url)
        self._allowed = frozenset({*allowed, origin(f"{parts.scheme}://{parts.netloc}")})

    def allow(self, scope: AsgiScope) -> bool:
        """Tell whether the page that opens this socket may: one of ours, or one that the operator named."""
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if not sent:
            return True
        if len(sent) > 1:
            return False
        return ANY in self._allowed or sent[0] in self._allowed or sent[0] in _of_host(scope)


def _of_host(scope: AsgiScope) -> Collection[str]:
    """Return the origins of pages that this server itself may have sent, by the name that the browser dialled.

    Behind a proxy that ends TLS the scheme is not known here: either will do, the host is what tells pages apart.
    """
    hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    return frozenset(f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts)
