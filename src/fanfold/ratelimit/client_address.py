"""Whose request is this, by address: the last hop that none of our own proxies vouches for."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

from fanfold.ratelimit import forwarded
from fanfold.ratelimit.forwarded import IPAddress

IPNetwork = IPv4Network | IPv6Network

UNKNOWN = "unknown"

_cached_address = lru_cache(maxsize=4096)(forwarded.parse_address)


def client_address(scope: Scope, trusted_proxies: Sequence[IPNetwork]) -> str:
    """Return the client's address, or "unknown" for a unix socket or a missing peer.

    Forwarded headers count only when the peer is a trusted proxy. The hops are then read from the nearest: the
    first that is not trusted is the client; what lies beyond it, the client may have written. A hop that is no
    address ends the search at the proxy that reported it. When X-Forwarded-For and Forwarded disagree, a proxy has
    passed one of them on unread, and neither is believed: the client is the peer.
    """
    client = scope.get("client")
    peer = _cached_address(client[0]) if client else None
    if peer is None:
        return UNKNOWN
    if not _is_trusted(peer, trusted_proxies):
        return str(peer)
    found = {_last_untrusted(hops, peer, trusted_proxies) for hops in _hop_lists(scope)}
    return str(found.pop() if len(found) == 1 else peer)


def address_key(address: str) -> str:
    """Return the key that strangers are counted by: an IPv6 address by its /64, which is one subscriber's network."""
    if address == UNKNOWN:
        return UNKNOWN
    parsed = ip_address(address)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64))) if isinstance(parsed, IPv6Address) else address


def _is_trusted(address: IPAddress, trusted_proxies: Sequence[IPNetwork]) -> bool:
    return any(address in network for network in trusted_proxies)


def _hop_lists(scope: Scope) -> list[list[str]]:
    """Return the hops of each forwarding header that is there; a malformed one has no hop worth reading."""
    lists = []
    if value := _header(scope, b"x-forwarded-for"):
        lists.append(forwarded.x_forwarded_for(value))
    if value := _header(scope, b"forwarded"):
        lists.append(forwarded.forwarded_for(value) or [])
    return lists


def _header(scope: Scope, wanted: bytes) -> str:
    return ", ".join([value.decode("latin-1") for name, value in scope["headers"] if name == wanted])


def _last_untrusted(hops: list[str], peer: IPAddress, trusted_proxies: Sequence[IPNetwork]) -> IPAddress:
    furthest = peer
    for hop in reversed(hops):
        address = _cached_address(hop)
        if address is None:
            break
        furthest = address
        if not _is_trusted(address, trusted_proxies):
            break
    return furthest
