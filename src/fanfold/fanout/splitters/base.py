"""The splitter port."""

from typing import Protocol

from fanfold.fanout.types import Split


class Splitter(Protocol):
    """Cuts a text into spans of code points `(start, end)`, in order and covering it whole.

    With overlap 0 the spans are disjoint and join to the text. A grapheme (UAX #29) is never cut, and no
    span is over `split.size` in the splitter's own measure unless one grapheme (one word) alone is. Pure and
    synchronous: the caller takes it off the loop. Linear in the length of the text for any input.
    """

    def __call__(self, text: str, split: Split) -> list[tuple[int, int]]:
        """Return the spans of `text`."""
        ...
