"""Transports by name. A new one is one file and one line here."""

import ssl
from typing import Protocol

from fanfold.core.lazily import on_call
from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports.base import Transport
from fanfold.fanout.transports.names import Resolver


class TransportFactory(Protocol):
    """Makes a transport; `resolver` and `ssl_context` default to the system's."""

    def __call__(
        self,
        *,
        guard: AddressGuard,
        max_connections: int,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Transport:
        """Return a transport for the running loop."""
        ...


# One of them is used: each brings a client of its own.
TRANSPORTS: dict[str, TransportFactory] = {
    "aiohttp": on_call("fanfold.fanout.transports.aiohttp", "AiohttpTransport"),
    "httptools": on_call("fanfold.fanout.transports.httptools", "HttptoolsTransport"),
    "httpx": on_call("fanfold.fanout.transports.httpx", "HttpxTransport"),
}


def transport(
    kind: str,
    *,
    guard: AddressGuard,
    max_connections: int,
    resolver: Resolver | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Transport:
    """Make the transport called `kind` inside the running loop; `UnknownKind` lists those there are."""
    factory = TRANSPORTS.get(kind)
    if factory is None:
        raise UnknownKind("transport", kind, tuple(TRANSPORTS))
    return factory(guard=guard, max_connections=max_connections, resolver=resolver, ssl_context=ssl_context)
