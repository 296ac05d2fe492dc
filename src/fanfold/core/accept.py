"""Which of two media types a client prefers."""

import re
from functools import lru_cache

_RANGE = re.compile(r"\s*(?P<kind>[^\s;,/]+)/(?P<part>[^\s;,/]+)\s*(?P<parameters>(;[^,]*)?)")
_QUALITY = re.compile(r";\s*q\s*=\s*(?P<value>0(\.\d{0,3})?|1(\.0{0,3})?)\s*(;|$)", re.IGNORECASE)


# What clients send is as long as they like: longer ones are read each time, and not kept.
_USUAL_LENGTH = 256


def prefers(accept: str, wanted: str, usual: str) -> bool:
    """Tell whether an `Accept` (RFC 9110, 12.5.1) names `wanted` itself, and no less gladly than it takes `usual`.

    Where both are named, with the same quality, it is the usual one.
    """
    return (_known if len(accept) <= _USUAL_LENGTH else _prefers)(accept, wanted, usual)


def _prefers(accept: str, wanted: str, usual: str) -> bool:
    ranges = _ranges(accept)
    quality = ranges.get(wanted, 0.0)
    return quality > 0 and (quality, 1) > _taken(ranges, usual)


_known = lru_cache(maxsize=256)(_prefers)


def _taken(ranges: dict[str, float], media_type: str) -> tuple[float, int]:
    """Return the quality of a media type and how closely it is named: 1 itself, 0 by a wildcard or not at all."""
    if media_type in ranges:
        return ranges[media_type], 1
    by_kind = f"{media_type.partition('/')[0]}/*"
    return ranges.get(by_kind, ranges.get("*/*", 0.0)), 0


def _ranges(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in accept.split(","):
        if matched := _RANGE.fullmatch(text):
            name = f"{matched['kind']}/{matched['part']}".lower()
            parameters = matched["parameters"]
            quality = _QUALITY.search(parameters)
            # A quality that is none asks for nothing.
            value = float(quality["value"]) if quality else 0.0 if "q=" in parameters.lower() else 1.0
            found[name] = max(value, found.get(name, 0.0))
    return found
