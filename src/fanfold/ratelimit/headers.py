"""The RateLimit-Policy and RateLimit fields (IETF draft-ietf-httpapi-ratelimit-headers), as structured fields.

Both are Lists of Strings with parameters (RFC 9651): `"tenant";q=200;w=10` and `"tenant";r=199;t=1`.
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from fanfold.ratelimit import gcra
from fanfold.ratelimit.base import BucketState

STATE = b"ratelimit"
_POLICY = b"ratelimit-policy"

_PRINTABLE_ASCII = "".join(map(chr, range(0x20, 0x7F)))


def fields(states: Iterable[BucketState]) -> list[tuple[bytes, bytes]]:
    """Return both: `q` requests at rest, refilled in `w` seconds; `r` requests remaining, one more in `t` seconds."""
    policies = left = b""
    for state in states:
        bucket = state.bucket
        policies += b", " + _policy(bucket.name, bucket.requests_per_minute, bucket.burst)
        left += b", %b;r=%d;t=%d" % (_string(bucket.name), state.remaining, state.reset_s)
    return [(_POLICY, policies[2:]), (STATE, left[2:])]


@lru_cache(maxsize=1024)
def _policy(name: str, requests_per_minute: int, burst: int) -> bytes:
    return b"%b;q=%d;w=%d" % (_string(name), burst, gcra.refill_s(requests_per_minute, burst))


@lru_cache(maxsize=1024)
def _string(name: str) -> bytes:
    """Return a name as a structured String, which holds printable ASCII only: the rest is percent-encoded."""
    printable = quote(name.encode("utf-8", "surrogatepass"), safe=_PRINTABLE_ASCII)
    return b'"%b"' % printable.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
