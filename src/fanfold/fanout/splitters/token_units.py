"""A text as units that tokenise by themselves, so that counts of tokens can be added up."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain, compress, islice, pairwise, repeat
from itertools import count as numbering
from operator import sub

from fanfold.fanout.splitters.graphemes import boundaries
from fanfold.fanout.splitters.o200k import Pieces, counts, token_spans

_PARTS = 64
_WINDOW = 16_384  # code points tokenised with offsets in one call


class TokenUnits:
    """Units of at most `size` tokens, or of one grapheme: `bounds` in code points, `measure` the tokens before each.

    A unit is a piece of the tokeniser. One that is too large falls into its tokens; where these cut graphemes, into
    graphemes. What then no longer adds up with its neighbours stands between `breaks`, indexes of bounds. Unless
    `is_fine`, as overlap needs it, a piece of over 16,384 code points falls into parts of `size` at once. `batches` are
    where those of the tokeniser's pieces end that are joined together.
    """

    def __init__(self, text: str, size: int, *, is_fine: bool) -> None:
        self._text = text
        self._size = size
        self._is_fine = is_fine
        self._graphemes = boundaries(text)
        self.bounds = array("I", [0])
        self.measure = array("I", [0])
        self.breaks: list[int] = []
        self._pieces = Pieces(text)
        self.batches = self._pieces.batches
        for ends in self._pieces.ends():
            self._add(self._joined(self._whole(ends)))

    def _index(self, position: int) -> int:
        return position if isinstance(self._graphemes, range) else bisect_left(self._graphemes, position)

    def _whole(self, ends: list[int]) -> list[int]:
        """Leaves out ends within graphemes."""
        if isinstance(self._graphemes, range):
            return ends
        kept = set(self._graphemes[self._index(ends[0]) : self._index(ends[-1]) + 1])
        return [end for end in ends if end in kept]

    def _joined(self, ends: list[int]) -> list[int]:
        """Joins very short pieces, as code has them, to units of about a 64th of the size: that many fewer to count."""
        if not ends:
            return ends
        together = self._size * len(ends) // (_PARTS * (ends[-1] - self.bounds[-1]))
        return ends if together <= 1 else [*ends[together - 1 : -1 : together], ends[-1]]

    def _add(self, ends: list[int]) -> None:
        if not ends:
            return
        *numbers, total = counts([*self._between(ends), self._text[self.bounds[-1] : ends[-1]]])
        if sum(numbers) != total:
            ends = self._merged(ends, numbers)
            numbers = counts(self._between(ends))
        if max(numbers) <= self._size:
            self._extend(ends, list(islice(accumulate(numbers, initial=self.measure[-1]), 1, None)))
            return
        for end, number in zip(ends, numbers, strict=True):
            if self._fits(end, number):
                self._extend([end], [self.measure[-1] + number])
            else:
                self._fall(end)

    def _merged(self, ends: list[int], numbers: list[int]) -> list[int]:
        """Leaves out ends of which the tokeniser knows nothing: its Unicode may be older than that of the pieces."""
        starts = [self.bounds[-1], *ends]
        pairs = counts([self._text[start:end] for start, end in zip(starts, ends[1:], strict=False)])
        adds_up = [pair == sum(two) for pair, two in zip(pairs, pairwise(numbers), strict=True)]
        return [*compress(ends, adds_up), ends[-1]]

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
        cutting = self._pieces.cutting(self.bounds[-1], end)
        by_tokens = cutting.adds_up and (self._is_fine or end - self.bounds[-1] <= _WINDOW)
        last = self._index(end)
        while (first := self._index(self.bounds[-1])) < last:
            limit = self.bounds[-1] + (_WINDOW if by_tokens else max(_WINDOW, _PARTS * self._size))
            highest = max(first + 1, bisect_right(self._graphemes, limit, first, last + 1) - 1)
            ends = self._graphemes[first + 1 : highest + 1]
            if not by_tokens or len(ends) == 1:
                self._add_groups(ends, is_last=highest == last)
            elif cutting.not_at:
                self._add_tokens([at for at in ends if at not in cutting.not_at or at == ends[-1]])
            else:
                self._add_tokens(ends)
        if cutting.merges:
            self.breaks.append(len(self.bounds) - 1)

    def _add_tokens(self, cuts: Sequence[int]) -> None:
        """Adds a window as units that end where a token does and a cut is allowed; the last of `cuts` ends it."""
        start, known = self.bounds[-1], self.measure[-1]
        window = self._text[start : cuts[-1]]
        encoded = list(accumulate(map(len, map(str.encode, window)), initial=0))
        allowed = dict(zip(map(encoded.__getitem__, map(sub, cuts, repeat(start))), cuts, strict=True))
        found = [allowed.get(end) for _, end in token_spans(window)]
        bounds = [end for end in found if end]
        numbers = list(compress(numbering(1), found))
        before = [0, *numbers]
        if max(map(sub, numbers, before)) <= self._size:
            self._extend(bounds, list(map(known.__add__, numbers)))
            return
        for end, number, earlier in zip(bounds, numbers, before, strict=False):
            if self._fits(end, number - earlier):
                self._extend([end], [self.measure[-1] + number - earlier])
            else:
                first = self._index(self.bounds[-1])
                self._add_groups(self._graphemes[first + 1 : self._index(end) + 1], is_last=True)

    def _add_groups(self, graphemes: Sequence[int], *, is_last: bool) -> None:
        """Adds graphemes in groups, each counted as it stands and apart from its neighbours.

        Leaves the last group to the next window, unless there is none.
        """
        first, take = 0, len(graphemes)
        while first < len(graphemes):
            take = min(take, len(graphemes) - first)
            number = self._count(graphemes[first + take - 1])
            while number > self._size and take > 1:
                take = max(1, min(take - 1, take * self._size // number))
                number = self._count(graphemes[first + take - 1])
            if first and first + take == len(graphemes) and not is_last:
                break
            self.breaks.append(len(self.bounds) - 1)
            self._extend([graphemes[first + take - 1]], [self.measure[-1] + number])
            first += take
            take += 1 + take // 8
        self.breaks.append(len(self.bounds) - 1)

    def _count(self, end: int) -> int:
        return counts([self._text[self.bounds[-1] : end]])[0]
