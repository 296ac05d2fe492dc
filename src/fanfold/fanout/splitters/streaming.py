"""Cuts a text that comes in pieces into the chunks that it would be cut into whole.

What waits is cut whenever it has grown by a window. Chunks whose end might still move are kept back, and the next cut
begins at the place before them from which the units of a text can be made anew: the start of a section, a paragraph, a
sentence. Only where one of these is longer than a window the cut goes on within it as if it began there.
"""

from bisect import bisect_right
from collections.abc import Sequence

from fanfold.core.values import value
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.splitters.packing import Span, pack
from fanfold.fanout.splitters.refusals import refuse_repetition, refuse_too_many
from fanfold.fanout.splitters.units import Units, UnitsOf
from fanfold.fanout.types import Chunk, Split

# Windows that wait for the end of a line before the cut goes on without it.
_LONG_LINE = 4
# Windows in which there must be a chunk. Of 100,000 graphemes of ten code points each there are several.
_NO_CHUNK = 32


@value(kw_only=True)
class Reach:
    """How far a cut looks: code points to a window, and units behind a chunk that may have a say in where it ends.

    These are runs of spaces, stops and digits, behind which a small letter says that no sentence has ended.
    """

    window: int = 512 * 1024
    lookahead: int = 4096


class StreamedText:
    """A text that is cut while it comes. `characters` are its code points so far, `chunks` those that were returned.

    Synchronous and pure: the caller takes it off the loop. Some windows of text are held, however long the text is.
    """

    def __init__(
        self, units_of: UnitsOf, split: Split, *, max_chunks: int, reach: Reach | None = None
    ) -> None:
        self._units_of, self._split, self._max_chunks = units_of, split, max_chunks
        self._reach = reach or Reach()
        self._pieces: list[str] = []
        self._waiting = 0  # code points of the pieces
        self._offset = 0  # of the pieces, in the text
        self._first = 0  # where in the pieces the next chunk begins
        self._due = self._reach.window
        self._repeated = 0
        self.characters = 0
        self.chunks = 0

    @property
    def is_due(self) -> bool:
        """Whether enough waits for a cut."""
        return self._waiting >= self._due

    def add(self, piece: str) -> None:
        """Take the next piece of the text."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        self.characters += len(piece)

    def cut(self) -> list[Chunk]:
        """Return the next chunks, as far as they are certain; call it when it is due.

        Raises `TooManyChunks`, and `InvalidPlan` where millions of code points make no chunk.
        """
        text, units, spans = self._spans(spare=2)
        certain = self._certain(units, spans, len(text))
        chunks = self._made(text, spans[:certain])
        if certain:
            self._keep(text, units, spans[certain][0])
        elif len(text) > _NO_CHUNK * self._reach.window:
            raise InvalidPlan("Millions of characters in a row make no chunk; use a smaller size.")
        self._due = self._waiting + self._reach.window
        return chunks

    def end(self) -> list[Chunk]:
        """Return the last chunks: no more text comes. Raises `TooManyChunks`."""
        text, _, spans = self._spans(spare=1)
        self._pieces.clear()
        return self._made(text, spans)

    def _spans(self, *, spare: int) -> tuple[str, Units, list[Span]]:
        """Cut what waits, into so many chunks more than there may be, to tell that there are too many."""
        text = "".join(self._pieces)
        self._pieces = [text]
        split = self._split
        units = self._units_of(text, split)
        first, most = units.index(self._first), self._max_chunks - self.chunks + spare
        return text, units, pack(units, split.size, split.overlap, first=first, most=most)

    def _certain(self, units: Units, spans: Sequence[Span], length: int) -> int:
        """Return how many of the chunks stay as they are whatever follows; the one after them begins where it does.

        A unit that reaches beyond what is here is over the size, so it falls into lower ones, wherever it ends.
        """
        most = units.measure[-1] - self._split.size - self._reach.lookahead
        last = bisect_right(units.measure, most) - 1
        if units.settled is not None and length <= _LONG_LINE * self._reach.window:
            # Where the next chunk begins hangs on the unit behind this one.
            last = min(last, bisect_right(units.bounds, units.settled) - 2)
        if last <= 0:
            return 0
        return min(bisect_right([end for _, end in spans], units.bounds[last]), len(spans) - 1)

    def _made(self, text: str, spans: Sequence[Span]) -> list[Chunk]:
        refuse_too_many(self.chunks + len(spans), self._max_chunks)
        self._repeated += sum(end - start for start, end in spans)
        refuse_repetition(self._repeated, self.characters)
        offset, first = self._offset, self.chunks
        self.chunks += len(spans)
        return [
            Chunk(index, offset + start, offset + end, text[start:end])
            for index, (start, end) in enumerate(spans, first)
        ]

    def _keep(self, text: str, units: Units, first: int) -> None:
        """Keep what is cut once more: the chunks that begin at `first`, and before them what their units hang on."""
        anchor = units.anchor(first)
        if first - anchor > self._reach.window:
            anchor = units.rough_anchor(first)
        self._pieces = [text[anchor:]]
        self._waiting = len(text) - anchor
        self._offset += anchor
        self._first = first - anchor
