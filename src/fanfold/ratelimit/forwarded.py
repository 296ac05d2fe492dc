"""Reads the hops out of X-Forwarded-For and Forwarded (RFC 7239); whom to believe is decided elsewhere."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address

# More proxies than this in a row are a mistake or an attack; the hops nearest to us are kept.
MAX_HOPS = 32

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
# The value of a pair may hold `[`, `]` and `:` unquoted: RFC 7239 wants quotes there, some proxies leave them out.
_PAIR = re.compile(rf"[ \t]*({_NAME})=({_QUOTED}|[^\"\\,;\s]*)[ \t]*([,;]?)")
_IPV4_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+")
_IN_BRACKETS = re.compile(r"\[([^\]]*)\](?::\w+)?")


def x_forwarded_for(value: str) -> list[str]:
    """Return the hops of X-Forwarded-For, the nearest last."""
    return [hop.strip() for hop in value.rsplit(",", MAX_HOPS)[-MAX_HOPS:]]


def forwarded_for(value: str) -> list[str] | None:
    """Return the `for` of each element of Forwarded, the nearest last ("" where it has none), or None if malformed.

    Quotes are honoured, since a client's Host may stand inside them and hold a comma: `host="a, for=1.2.3.4"`.
    """
    hops, hop, position = [], "", 0
    while pair := _PAIR.match(value, position):
        position = pair.end()
        if pair[1].lower() == "for":
            hop = pair[2].strip('"')
        if pair[3] != ";":
            hops.append(hop)
            hop = ""
        if not pair[3]:
            break
    ends_well = pair is not None and position == len(value)
    return hops[-MAX_HOPS:] if ends_well else None


def parse_address(hop: str) -> IPAddress | None:
    """Return the address of a hop, without its port or zone, an IPv4-mapped one as IPv4; None if it has none."""
    with_port = _IPV4_WITH_PORT.fullmatch(hop) or _IN_BRACKETS.fullmatch(hop)
    try:
        address = ip_address((with_port[1] if with_port else hop).partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
