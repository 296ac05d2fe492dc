"""When two addresses are the same."""

from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]


def origin(url: str) -> Origin:
    """Return scheme, host and port (RFC 6454): what a credential belongs to."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _DEFAULT_PORTS.get(parts.scheme)


@lru_cache(maxsize=1_024)
def normalise(url: str) -> str:
    """Return the address with scheme, host, default port and empty path in one form (RFC 3986, section 6.2)."""
    parts = urlsplit(url)
    scheme, host, port = origin(url)
    bracketed = f"[{host}]" if ":" in host else host
    netloc = bracketed if port == _DEFAULT_PORTS.get(scheme) else f"{bracketed}:{port}"
    return urlunsplit((scheme, netloc, parts.path or "/", parts.query, ""))
