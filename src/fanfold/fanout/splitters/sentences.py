"""Splits by sentences of Unicode Standard Annex #29; a line end closes a sentence too."""

import re
from collections.abc import Iterator
from itertools import islice

from fanfold.fanout.splitters.classes import Classes
from fanfold.fanout.splitters.falling import spans_of_levels, units_of_levels
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.splitters.words import word_ends
from fanfold.fanout.types import Split

# Classes are those of https://www.unicode.org/reports/tr29/#Sentence_Boundary_Rules: X Extend and Format, R line end
# and paragraph separator, S space, T STerm, A ATerm, C Close, W SContinue, N Numeric, U Upper, V Lower, O OLetter.
_CLASSES = Classes(
    {
        "X": r"[\p{SB=Extend}\p{SB=Format}\p{GCB=SpacingMark}]",
        "R": r"[\p{SB=Sep}\r\n]",
        "S": r"\p{SB=Sp}",
        "T": r"\p{SB=STerm}",
        "A": r"\p{SB=ATerm}",
        "C": r"\p{SB=Close}",
        "W": r"\p{SB=SContinue}",
        "N": r"\p{SB=Numeric}",
        "U": r"\p{SB=Upper}",
        "V": r"\p{SB=Lower}",
        "O": r"\p{SB=OLetter}",
    }
)
# A terminator with what closes it, then one line end at most; or a line end. Then blank lines, which UAX #29 would
# make sentences of their own. A full stop does not end a sentence before a digit (SB6), between letters of which the
# second is a capital (SB7), or where the next letter is a small one (SB8); no terminator does before another or a
# comma (SB8a). What ends no sentence matches with the group, so that no search is long. Each match begins where the one
# before ended.
_END = re.compile(
    r"""[^ATR]{0,65535}+(?:[ATR](?:
    (?:(?<=R)|[AT]*+(?:
        (?<=A)(?:(?<![UVX].)|(?!X*+U))X*+(?!N)(?:C[CX]*+)?+(?:S[SX]*+)?+(?![^OUVRAT]*+V)(?![WAT])R?
        |(?<=T)X*+(?:C[CX]*+)?+(?:S[SX]*+)?+(?![WAT])R?
    ))(?:[SR]*R)?+
    |())|())""",
    re.VERBOSE,
)
_BATCH = 512


def sentences(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of whole sentences, at most `split.size` graphemes; a longer sentence falls into words."""
    return spans_of_levels(text, split, SENTENCE_LEVELS)


def sentence_units(text: str, split: Split) -> Units:
    """Return whole sentences, and what longer ones fall into."""
    return units_of_levels(text, split, SENTENCE_LEVELS)


def sentence_ends(text: str, start: int, stop: int) -> Iterator[list[int]]:
    """Yield in batches where the sentences of `text[start:stop]` end, blank lines after them included."""
    matches = _END.finditer(_CLASSES.of(text[start:stop]))
    while batch := list(islice(matches, _BATCH)):
        yield [start + match.end() for match in batch if match.lastindex is None]


SENTENCE_LEVELS = (sentence_ends, word_ends)
