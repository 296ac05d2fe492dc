"""Names of servers and origins of web pages: as settings may write them, and as clients do."""

import re
from ipaddress import AddressValueError, IPv6Address

ANY = "*"

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[^\]]+\]|[^:/?#@\[\]]+)(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_NO_HOST = "must be names without scheme or port, as example.com, *.example.com or [::1]; * alone: any"
_NO_ORIGIN = "must be scheme://host or scheme://host:port, without a path; * alone: any"


def host_pattern(value: str) -> str:
    """Return an entry of `ALLOWED_HOSTS` as clients write it, names of other scripts as IDNA; raises `ValueError`."""
    below = "*." if value.startswith("*.") else ""
    return value if value == ANY else below + _host(value.removeprefix("*."), _NO_HOST)


def origin(value: str) -> str:
    """Return an entry of `CORS_ORIGINS` as browsers write it (RFC 6454, section 6.1); raises `ValueError`."""
    if value == ANY:
        return value
    found = _ORIGIN.fullmatch(value)
    if found is None or int(found[3] or 0) > 65_535:  # noqa: PLR2004 (the last port)
        raise ValueError(_NO_ORIGIN)
    scheme, port = found[1].lower(), found[3]
    host = _host(found[2], _NO_ORIGIN)
    return f"{scheme}://{host}" + (f":{int(port)}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


def _host(value: str, otherwise: str) -> str:
    try:
        if value.startswith("["):
            return f"[{IPv6Address(value[1:-1])}]"
        name = value.lower().encode("idna").decode()
    except (UnicodeError, AddressValueError):
        raise ValueError(otherwise) from None
    if not _NAME.fullmatch(name):
        raise ValueError(otherwise)
    return name
