"""A text as the units that chunks are packed of."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fanfold.core.values import value
from fanfold.fanout.types import Split


@value
class Units:
    """Units between `bounds`, in code points; `measure` is what all before each bound measure together.

    No chunk crosses a boundary whose index is in `breaks`. From each of `anchors` on that is a bound, the units of the
    rest of the text are those that it has by itself; None: from each bound on. `rough` will do where there is no other.
    Boundaries up to `settled` stay whatever follows the text, beside what the measure says; None: all.
    """

    bounds: Sequence[int]
    measure: Sequence[int]
    breaks: Sequence[int] = ()
    anchors: Sequence[int] | None = None
    rough: Sequence[int] = ()
    settled: int | None = None

    def anchor(self, position: int) -> int:
        """Return the last place up to the bound `position` from which the units can be made anew; 0 is one."""
        return position if self.anchors is None else self._last(self.anchors, position)

    def rough_anchor(self, position: int) -> int:
        """Return the like where they are made anew nearly as they are: the bound itself if there is nothing better."""
        return self._last(self.rough, position) or position

    def index(self, position: int) -> int:
        """Return the index of the bound at `position`."""
        return bisect_left(self.bounds, position)

    def _last(self, places: Sequence[int], position: int) -> int:
        for index in range(bisect_right(places, position) - 1, -1, -1):
            if self.bounds[self.index(places[index])] == places[index]:
                return places[index]
        return 0


UnitsOf: TypeAlias = Callable[[str, Split], Units]
