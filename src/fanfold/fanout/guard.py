"""Which addresses may be dialled. Judged on the final socket address, so that no spelling and no name gets round it."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from fanfold.fanout.errors import ForbiddenAddress, InvalidAddress

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# The IANA special-purpose registry, whole (also its few entries that are globally reachable: no API lives there),
# and what it lacks. `ipaddress.is_global` alone lets several of these pass.
_DENIED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; metadata of Alibaba Cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # host of Azure's machines, formally public
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; metadata of Oracle Cloud
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

# All of IPv6 that is not global unicast is denied, so only the exceptions within 2000::/3 are listed.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_DENIED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which embeds any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, given back
        "3fff::/20",  # documentation
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

HTTPS_PORT = 443
PORTS = (range(HTTPS_PORT, HTTPS_PORT + 1), range(1024, 65_536))
"""Where upstreams may listen unless the operator says otherwise: not where mail, shells and files are served."""

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_IPV4_NUMBER = re.compile(r"0x[0-9a-f]{0,32}|[0-9]{1,32}")
_IPV4_PARTS = 4
_MAX_NAME = 253


class AddressGuard:
    """Lets public addresses pass on `ports`, and on any port those within the networks the operator allowed."""

    def __init__(self, allowed: Sequence[IPNetwork] = (), *, ports: Sequence[range] = PORTS) -> None:
        self._allowed, self._ports = tuple(allowed), tuple(ports)
        # What it says of a URL is the same every time; what a name leads to is judged when it is dialled.
        self._check = lru_cache(maxsize=1_024)(self._check_anew)

    def allows(self, ip: IPAddress | str, *, port: int = HTTPS_PORT, plain: bool = False) -> bool:
        """Tell whether `ip` may be dialled; without TLS (`plain`) only within the allowed networks.

        A string is what a socket address holds: a numeric address, perhaps with a zone. Anything else is refused.
        """
        address = _numeric(ip)
        if address is None:
            return False
        judged = _unwrapped(address)
        if any(candidate in network for network in self._allowed for candidate in (address, judged)):
            return True
        return not plain and self._has(port) and _is_public(judged)

    def _has(self, port: int) -> bool:
        return any(port in ports for ports in self._ports)

    def check_literal(self, host: str) -> None:
        """Raise `ForbiddenAddress` if `host` is a forbidden address in any spelling. Names pass."""
        address = literal_address(host)
        if address is not None and not self.allows(address):
            raise ForbiddenAddress(
                "This address is in a network that upstreams may not have. Use a public address, "
                "or have the operator add its network to FANFOLD_UPSTREAM_ALLOWED_NETWORKS."
            )

    def check_url(self, url: str) -> None:
        """Raise `InvalidAddress` (a ValueError) for a URL that cannot be registered as an upstream's."""
        self._check(url)

    def _check_anew(self, url: str) -> None:
        parts = _split(url)
        host = parts.hostname or ""
        self.check_literal(host)
        if parts.scheme == "http" and not self._may_be_allowed(host):
            raise InvalidAddress(
                "Plain http:// is only for the networks in FANFOLD_UPSTREAM_ALLOWED_NETWORKS. Use https://."
            )
        if not self._has(parts.port or HTTPS_PORT) and not self._may_be_allowed(host):
            raise InvalidAddress(
                "Upstreams may not have this port. Use 443 or another of FANFOLD_UPSTREAM_PORTS, to which the "
                "operator can add it."
            )

    def _may_be_allowed(self, host: str) -> bool:
        """Tell whether `host` could lead into the allowed networks; a name is judged by its address when dialled."""
        address = literal_address(host)
        return bool(self._allowed) and (address is None or self.allows(address, plain=True))


def literal_address(host: str) -> IPAddress | None:
    """Read `host` as an address, in every spelling that browsers or getaddrinfo take; None for a name.

    Decimal, octal, hexadecimal and short IPv4 (URL Standard, "IPv4 parser"), full-width digits, percent-encoding,
    trailing dots, IPv6 with a zone. Raises `InvalidAddress` for what ends in a number and is no address.
    """
    name = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").lower().rstrip(".")
    if ":" in name:
        return _ipv6(name.strip("[]"))
    parts = name.split(".")
    if not _IPV4_NUMBER.fullmatch(parts[-1]):
        return None
    return _ipv4(parts)


def _ipv6(name: str) -> IPAddress:
    address = _numeric(name)
    if address is None:
        raise InvalidAddress("This is no IPv6 address. Write it as https://[2606:4700::1111]/.")
    return address


def _ipv4(parts: list[str]) -> IPv4Address:
    value = _ipv4_value(parts) if all(_IPV4_NUMBER.fullmatch(part) for part in parts) else None
    if value is None:
        raise InvalidAddress("This host ends in a number but is no IPv4 address. Write four decimals.")
    return IPv4Address(value)


def _ipv4_value(parts: list[str]) -> int | None:
    """Return the address that one to four numbers mean, the last one filling what the others left over."""
    try:
        *head, last = (_ipv4_number(part) for part in parts)
        leading = int.from_bytes(bytes(head))
    except ValueError:
        return None
    left = 8 * (_IPV4_PARTS - len(head))
    return leading << left | last if left > 0 and last < 1 << left else None


def _ipv4_number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def _numeric(ip: IPAddress | str) -> IPAddress | None:
    try:
        return ip_address(ip.partition("%")[0]) if isinstance(ip, str) else ip
    except ValueError:
        return None


def _unwrapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that the kernel or a NAT64 gateway would reach in the end."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _DENIED_IPV4)
    if address not in _GLOBAL_UNICAST or any(address in network for network in _DENIED_IPV6):
        return False
    # ISATAP (RFC 5214) hides an IPv4 address in the interface identifier of any prefix.
    return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP or _is_public(
        IPv4Address(int(address) & 0xFFFFFFFF)
    )


def _split(url: str) -> SplitResult:
    """Split a URL, raising `InvalidAddress` with what to change for everything but http(s)://name[:port]/..."""
    if _UNSAFE.search(url):
        raise InvalidAddress("The URL holds spaces, control characters or backslashes; percent-encode them.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidAddress(
            "This is no URL. Write it as https://host/path, with a port of 1 to 65535."
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidAddress("The URL must begin with https:// (or http:// where allowed) and name a host.")
    if port == 0:
        raise InvalidAddress("Port 0 cannot be dialled; use 1 to 65535.")
    if "@" in parts.netloc:
        raise InvalidAddress("The URL holds a user or password. Put it into `credential` instead.")
    if parts.fragment:
        raise InvalidAddress("The URL holds a #fragment, which is never sent. Take it out.")
    if "[" in parts.netloc and ":" not in parts.hostname:
        raise InvalidAddress("Brackets are for IPv6 addresses alone, as in https://[2606:4700::1111]/.")
    _check_name(parts.hostname)
    return parts


def _check_name(host: str) -> None:
    if ":" in host:
        return
    try:
        encoded = unquote(host).rstrip(".").encode("idna")
    except UnicodeError:
        encoded = b""
    if not encoded or len(encoded) > _MAX_NAME:
        raise InvalidAddress("The URL's host is no valid name. Check its spelling.")
