"""A text as units that tokenise by themselves, so that counts of tokens can be added up."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain, islice
from operator import sub

from fanfold.fanout.splitters.graphemes import boundaries
from fanfold.fanout.splitters.o200k import counts, merges_with_next, piece_ends, token_ends, uncut

_WINDOW = 16_384  # code points tokenised with offsets in one call


class TokenUnits:
    """Units of at most `size` tokens, or of one grapheme: `bounds` in code points, `measure` the tokens before each.

    A unit is a piece of the tokeniser. One that is too large falls into its tokens; where these cut graphemes, into
    graphemes. What then no longer adds up with its neighbours stands between `breaks`, indexes of bounds.
    """

    def __init__(self, text: str, size: int) -> None:
        self._text = text
        self._size = size
        self._graphemes = boundaries(text)
        self.bounds = array("I", [0])
        self.measure = array("I", [0])
        self.breaks: list[int] = []
        for ends in piece_ends(text):
            self._add(self._whole(ends))

    def _index(self, position: int) -> int:
        return position if isinstance(self._graphemes, range) else bisect_left(self._graphemes, position)

    def _whole(self, ends: list[int]) -> list[int]:
        """Leaves out ends within graphemes."""
        if isinstance(self._graphemes, range):
            return ends
        return [end for end in ends if self._graphemes[self._index(end)] == end]

    def _add(self, ends: list[int]) -> None:
        numbers = counts(self._between(ends))
        if max(numbers, default=0) <= self._size:
            self._extend(ends, list(islice(accumulate(numbers, initial=self.measure[-1]), 1, None)))
            return
        for end, number in zip(ends, numbers, strict=True):
            if self._fits(end, number):
                self._extend([end], [self.measure[-1] + number])
            else:
                self._fall(end)

    def _extend(self, bounds: list[int], measure: list[int]) -> None:
        self.bounds.extend(bounds)
        self.measure.extend(measure)

    def _fits(self, end: int, number: int) -> bool:
        return number <= self._size or self._index(end) == self._index(self.bounds[-1]) + 1

    def _between(self, ends: Sequence[int]) -> list[str]:
        return [
            self._text[start:end] for start, end in zip(chain((self.bounds[-1],), ends), ends, strict=False)
        ]

    def _fall(self, end: int) -> None:
        """Adds a piece in parts, window by window."""
        start = self.bounds[-1]
        piece = self._text[start:end]
        without = uncut(piece)
        last = self._index(end)
        while (first := self._index(self.bounds[-1])) < last:
            limit = self.bounds[-1] + _WINDOW
            highest = max(first + 1, bisect_right(self._graphemes, limit, first, last + 1) - 1)
            ends = self._graphemes[first + 1 : highest + 1]
            if without is None or len(ends) == 1:
                self._add_groups(ends)
            else:
                self._add_tokens([at for at in ends if at - start not in without or at == ends[-1]])
        if merges_with_next(piece):
            self.breaks.append(len(self.bounds) - 1)

    def _add_tokens(self, cuts: list[int]) -> None:
        """Adds a window as units that end where a token does and a cut is allowed; the last of `cuts` ends it."""
        start = self.bounds[-1]
        window = self._text[start : cuts[-1]]
        encoded = list(accumulate(map(len, map(str.encode, window)), initial=0))
        allowed = {encoded[cut - start]: cut for cut in cuts}
        tokens = token_ends(window)
        numbers = [number for number, end in enumerate(tokens, 1) if end in allowed]
        bounds = [allowed[tokens[number - 1]] for number in numbers]
        before = [0, *numbers]
        known = self.measure[-1]
        if max(map(sub, numbers, before)) <= self._size:
            self._extend(bounds, [known + number for number in numbers])
            return
        for end, number, earlier in zip(bounds, numbers, before, strict=False):
            if self._fits(end, number - earlier):
                self._extend([end], [self.measure[-1] + number - earlier])
            else:
                first = self._index(self.bounds[-1])
                self._add_groups(self._graphemes[first + 1 : self._index(end) + 1])

    def _add_groups(self, graphemes: Sequence[int]) -> None:
        """Adds graphemes in groups, each counted as it stands and apart from its neighbours."""
        first, take = 0, len(graphemes)
        while first < len(graphemes):
            take = min(take, len(graphemes) - first)
            number = self._count(graphemes[first + take - 1])
            while number > self._size and take > 1:
                take = max(1, min(take - 1, take * self._size // number))
                number = self._count(graphemes[first + take - 1])
            self.breaks.append(len(self.bounds) - 1)
            self._extend([graphemes[first + take - 1]], [self.measure[-1] + number])
            first += take
            take += 1 + take // 8
        self.breaks.append(len(self.bounds) - 1)

    def _count(self, end: int) -> int:
        return counts([self._text[self.bounds[-1] : end]])[0]
