"""Units of several levels: what is too large as a unit of one level becomes units of the next."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import sub
from typing import TypeAlias

from fanfold.fanout.splitters.graphemes import boundaries
from fanfold.fanout.splitters.packing import Span, pack
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Split

# `level(text, start, stop)` yields in batches where the units within end, strictly rising; that one ends at `stop`
# goes without saying.
Level: TypeAlias = Callable[[str, int, int], Iterator[list[int]]]


def spans_of_levels(text: str, split: Split, levels: Sequence[Level]) -> list[Span]:
    """Return spans of whole units of the highest level that fits, at most `split.size` graphemes each."""
    return pack(units_of_levels(text, split, levels), split.size, split.overlap)


def units_of_levels(text: str, split: Split, levels: Sequence[Level]) -> Units:
    """Return the units that `spans_of_levels` packs: they can be made anew where one of the highest level begins."""
    units = FallingUnits(text, split.size, levels)
    return Units(units.bounds, units.measure, anchors=units.tops)


class FallingUnits:
    """A text as units of at most `size` graphemes: `bounds` in code points, `measure` the graphemes before each.

    A boundary of a level that would cut a grapheme is none. Below the last level there are graphemes. `tops` are the
    boundaries of the highest level, those that would cut a grapheme too.
    """

    def __init__(self, text: str, size: int, levels: Sequence[Level]) -> None:
        self._text = text
        self._size = size
        self._highest = levels
        self.tops = array("I")
        self._graphemes = boundaries(text)
        self._is_plain = isinstance(self._graphemes, range)
        self.bounds = array("I", [0])
        self.measure = self.bounds if self._is_plain else array("I", [0])
        if text:
            self._fall(len(text), levels)

    def _fall(self, stop: int, levels: Sequence[Level]) -> None:
        """Adds the units up to `stop`, the first of which begins at the last boundary."""
        if not levels:
            self._add_graphemes(stop)
            return
        for ends in levels[0](self._text, self.bounds[-1], stop):
            if levels is self._highest:
                self.tops.extend(ends)
            if ends and self._all_fit(ends):
                self.bounds.extend(ends)
            else:
                self._add_each(ends, levels[1:])
        if self.bounds[-1] < stop:
            self._add_each([stop], levels[1:])

    def _all_fit(self, ends: list[int]) -> bool:
        """Tells in one go of many small units that each is one, where graphemes need not be looked up."""
        if not self._is_plain:
            return False
        longest: int = max(map(sub, ends, chain((self.bounds[-1],), ends)))
        return longest <= self._size

    def _add_each(self, ends: list[int], lower: Sequence[Level]) -> None:
        for end in ends:
            count = self._count(end)
            if count is None:
                continue
            if count - self.measure[-1] > self._size:
                self._fall(end, lower)
            else:
                self._extend((end,), (count,))

    def _extend(self, ends: Sequence[int], counts: Sequence[int]) -> None:
        self.bounds.extend(ends)
        if not self._is_plain:
            self.measure.extend(counts)

    def _count(self, position: int) -> int | None:
        """Graphemes before the position, or None where it is within one."""
        if self._is_plain:
            return position
        count = bisect_left(self._graphemes, position, self.measure[-1])
        return count if self._graphemes[count] == position else None

    def _add_graphemes(self, stop: int) -> None:
        first = self.measure[-1] + 1
        last = bisect_left(self._graphemes, stop, first)
        step = 65_536
        for start in range(first, last + 1, step):
            numbers = range(start, min(start + step, last + 1))
            self._extend(self._graphemes[numbers.start : numbers.stop], numbers)
