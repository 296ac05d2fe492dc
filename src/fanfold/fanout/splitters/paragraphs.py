"""Splits by paragraphs: what stands between blank lines."""

from collections.abc import Iterator
from itertools import islice

import regex

from fanfold.fanout.splitters.falling import spans_of_levels, units_of_levels
from fanfold.fanout.splitters.sentences import SENTENCE_LEVELS
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Split

# A line end and at least one blank line, or U+2029. The indentation of the next line is the next paragraph's.
_SPACE, _LINE_END = r"[\p{Zs}\t]", r"(?>\r\n|[\n\r\x85\u2028])"
_GAP = regex.compile(
    rf"(?:\u2029|{_LINE_END}{_SPACE}*+(?:{_LINE_END}|\u2029))(?>[\p{{Zs}}\t\n\r\x85\u2028\u2029]*[\n\r\x85\u2028\u2029])?"
)
_BATCH = 512


def paragraphs(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of whole paragraphs, at most `split.size` graphemes; a longer one falls into sentences."""
    return spans_of_levels(text, split, PARAGRAPH_LEVELS)


def paragraph_units(text: str, split: Split) -> Units:
    """Return whole paragraphs, and what longer ones fall into."""
    return units_of_levels(text, split, PARAGRAPH_LEVELS)


def paragraph_ends(text: str, start: int, stop: int) -> Iterator[list[int]]:
    """Yield in batches where the paragraphs of `text[start:stop]` end, the blank lines after them included."""
    matches = _GAP.finditer(text, start, stop)
    while batch := [match.end() for match in islice(matches, _BATCH)]:
        yield batch


PARAGRAPH_LEVELS = (paragraph_ends, *SENTENCE_LEVELS)
