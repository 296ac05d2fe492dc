"""Fills chunks with whole units. Knows nothing of texts: units are indexes into their boundaries."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from fanfold.fanout.splitters.units import Units

Span = tuple[int, int]


def pack_equal(bounds: Sequence[int], size: int, overlap: int) -> list[Span]:
    """Return the spans of chunks of `size` units that count one each; `bounds` holds n + 1 positions for n units."""
    units = len(bounds) - 1
    if not units:
        return []
    *full, last = range(0, max(1, units - overlap), size - overlap)
    return [*[(bounds[first], bounds[first + size]) for first in full], (bounds[last], bounds[units])]


def pack(units: Units, size: int, overlap: int, *, first: int = 0, most: int | None = None) -> list[Span]:
    """Return the spans of chunks that hold as many whole units as measure at most `size`, and at least one.

    A chunk repeats at most `overlap` of the end of the one before, and always holds a unit that it did not. None
    crosses one of the units' breaks, nor repeats what stands before it. `first` is a unit's index; at most `most` come.
    """
    bounds, measure, breaks = units.bounds, units.measure, units.breaks
    last = len(bounds) - 1
    spans: list[Span] = []
    at = 0
    while first < last and len(spans) != most:
        while at < len(breaks) and breaks[at] <= first:
            at += 1
        stop = breaks[at] if at < len(breaks) else last
        end = _end(measure, first, stop, size)
        spans.append((bounds[first], bounds[end]))
        if end == last:
            break
        repeats = overlap and end != stop
        first = _start(measure, first, end, size, overlap) if repeats else end
    return spans


def _end(measure: Sequence[int], first: int, stop: int, size: int) -> int:
    highest = min(stop, first + size)
    return max(first + 1, bisect_right(measure, measure[first] + size, first, highest + 1) - 1)


def _start(measure: Sequence[int], first: int, end: int, size: int, overlap: int) -> int:
    """The first unit of the next chunk: after that of the last one, and so late that a new unit fits in."""
    lowest = max(measure[end] - overlap, measure[end + 1] - size)
    return bisect_left(measure, lowest, first + 1, end)
