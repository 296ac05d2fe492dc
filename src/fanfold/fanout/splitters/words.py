"""Splits by words of Unicode Standard Annex #29; each ideograph is a word."""

import re
from array import array
from collections.abc import Iterator, Sequence

from fanfold.fanout.splitters.classes import Classes
from fanfold.fanout.splitters.packing import pack_equal
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Split

# Classes are those of https://www.unicode.org/reports/tr29/#Word_Boundary_Rules. Differing are I: a letter that is an
# emoji; P: Prepend, which takes part as letter or digit; O: letters and digits that stand alone, ideographs for one;
# C and J: an A and an O that a linker may join to what is before; L, Z, X, F: a linker, the zero width joiner, other
# marks and formats, which belong to what is before.
_CLASSES = Classes(
    {
        "Z": r"\p{WB=ZWJ}",
        "L": r"\p{InCB=Linker}",
        "X": r"\p{WB=Extend}",
        "P": r"\p{GCB=Prepend}",
        "F": r"\p{WB=Format}",
        "I": r"[\p{WB=ALetter}&&\p{ExtPict}]",
        "C": r"[\p{WB=ALetter}&&\p{InCB=Consonant}]",
        "A": r"\p{WB=ALetter}",
        "H": r"\p{WB=Hebrew_Letter}",
        "N": r"\p{WB=Numeric}",
        "K": r"\p{WB=Katakana}",
        "E": r"\p{WB=ExtendNumLet}",
        "M": r"\p{WB=MidLetter}",
        "B": r"[\p{WB=MidNumLet}\p{WB=Single_Quote}]",
        "D": r"\p{WB=MidNum}",
        "Q": r"\p{WB=Double_Quote}",
        "J": r"[\p{InCB=Consonant}&&\p{Alphabetic}]",
        "O": r"[[\p{Alphabetic}\p{N}]--\p{GCB=SpacingMark}]",
    }
)
_MARKS = "FXLZ"
# Where a word begins, told by at most two classes before it, once marks are absorbed. Runs in which none begins match
# with the second group, so that no search is long; the first group: every code point of the run is a word.
_START = re.compile(
    r"""[AHIPNKEOJ](?:
    (?<=[OJ])(?<!P.)[OJ]*+()
    |(?<=[AHIP])(?<![AHIPNE].)(?<![AHIP][MB].)(?<!HQH)(?<!ZI)[AHIPNE]*+
    |(?<=N)(?<![AHIPNE].)(?<![NP][DB].)[AHIPNE]*+
    |(?<=K)(?<![KEP].)K*+
    |(?<=E)(?<![AHIPNKE].)E*+(?:(?=[AHIPNK])|())
    |(?:(?<=[AHIPNE])[AHIPNE]*+|(?<=K)K*+|)()
    )""",
    re.VERBOSE,
)
_LINKED = re.compile(rf"(L[{_MARKS}]*+)J|(?<![ACHIPNEFXLZ])([FXZ]*+L[{_MARKS}]*+)C")
_MARKED = re.compile(rf"([AHIPNKE])[{_MARKS}]+")
_MARKED_MIDDLE = re.compile(rf"([MBDQ])(?<=([AHIPN]).)([{_MARKS}]+)")
_RUN = re.compile(rf"[E{_MARKS}]*+")
_WINDOW = 65_536


def words(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of `split.size` words each; what is no word belongs to the one before, or else to the first."""
    return pack_equal(_bounds(text), split.size, split.overlap)


def word_units(text: str, _split: Split) -> Units:
    """Return the words of the text, one each."""
    bounds = _bounds(text)
    return Units(bounds, range(len(bounds)))


def _bounds(text: str) -> Sequence[int]:
    bounds = array("I", [0])
    for ends in word_ends(text, 0, len(text)):
        bounds.extend(ends)
    if text:
        bounds.append(len(text))
    return bounds


def word_ends(text: str, start: int, stop: int) -> Iterator[list[int]]:
    """Yield in batches where the words of `text[start:stop]` end, with all behind them that is no word; not `stop`."""
    is_first = True
    for begins in _begins(_CLASSES.of(text[start:stop]), start):
        yield begins[1:] if is_first else begins
        is_first = False


def _begins(classes: str, offset: int) -> Iterator[list[int]]:
    before = "--"
    position = 0
    while position < len(classes):
        end = _window_end(classes, position)
        window = _absorb(before + classes[position:end])
        shift = offset + position - 2
        begins: list[int] = []
        for match in _START.finditer(window, 2):
            if match.lastindex is None:
                begins.append(match.start() + shift)
            elif match.lastindex == 1:
                begins.extend(range(match.start() + shift, match.end() + shift))
        if begins:
            yield begins
        before = window[-2:]
        position = end


def _window_end(classes: str, position: int) -> int:
    """Keeps a run of connectors, or of marks with a linker, in one window: what begins behind it depends on it."""
    end = position + _WINDOW
    if end >= len(classes):
        return len(classes)
    window = classes[position:end]
    kept = len(window.rstrip("E" + _MARKS))
    if kept:
        return position + kept
    if "E" not in window and "L" not in window:
        return end
    run = _RUN.match(classes, position)
    return position + 1 if run is None else run.end() + 1


def _absorb(window: str) -> str:
    """Lets marks count as what they belong to (rule WB4), so that rules look back by a known distance."""
    if "L" in window:
        window = _LINKED.sub(r"\1\2-", window)
    window = window.replace("C", "A")
    if not any(mark in window for mark in _MARKS):
        return window
    window = _MARKED.sub(lambda match: match[1] * len(match[0]), window)
    return _MARKED_MIDDLE.sub(lambda match: match[2] * len(match[3]) + match[1], window)
