"""The RateLimit-Policy and RateLimit fields (IETF draft-ietf-httpapi-ratelimit-headers), as structured fields.

Both are Lists of Strings with parameters (RFC 9651): `"tenant";q=200;w=10` and `"tenant";r=199;t=1`.
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from fanfold.ratelimit import gcra
from fanfold.ratelimit.base import Bucket, BucketState

POLICY = b"ratelimit-policy"
STATE = b"ratelimit"

_PRINTABLE_ASCII = "".join(map(chr, range(0x20, 0x7F)))


def policy_field(buckets: Iterable[Bucket]) -> bytes:
    """Return the value of RateLimit-Policy: `q` requests at rest, refilled in `w` seconds."""
    return b", ".join([_policy(one.name, one.requests_per_minute, one.burst) for one in buckets])


def state_field(states: Iterable[BucketState]) -> bytes:
    """Return the value of RateLimit: `r` requests remaining, one more in `t` seconds."""
    return b", ".join([b"%b;r=%d;t=%d" % (_string(s.bucket.name), s.remaining, s.reset_s) for s in states])


@lru_cache(maxsize=1024)
def _policy(name: str, requests_per_minute: int, burst: int) -> bytes:
    return b"%b;q=%d;w=%d" % (_string(name), burst, gcra.refill_s(requests_per_minute, burst))


@lru_cache(maxsize=1024)
def _string(name: str) -> bytes:
    """Return a name as a structured String, which holds printable ASCII only: the rest is percent-encoded."""
    printable = quote(name.encode("utf-8", "surrogatepass"), safe=_PRINTABLE_ASCII)
    return b'"%b"' % printable.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
