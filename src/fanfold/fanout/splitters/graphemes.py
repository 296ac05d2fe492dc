"""Where the graphemes of a text begin and end: extended grapheme clusters of Unicode Standard Annex #29."""

from array import array
from collections.abc import Sequence

import regex

# Code points that may continue a grapheme, or be continued by more than marks. A text without any has a grapheme
# for each code point, and so has every stretch between two of them.
_JOINT = regex.compile(
    r"[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=Regional_Indicator}"
    r"\p{GCB=L}\p{GCB=V}\p{GCB=T}\p{InCB=Linker}\r]"
)
# `\X` counts back over all flags before it at each flag: pairs are matched by themselves, which keeps it linear.
_GRAPHEME = r"\p{GCB=Regional_Indicator}{2}[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]*+|\X"
_FEW = regex.compile(rf"({_GRAPHEME}){{1,4}}+")
_MANY = regex.compile(rf"({_GRAPHEME}){{1,256}}+")
_DENSE = 16  # code points between two joints under which graphemes are taken by the hundred
_STEP = 65_536  # what one call that holds the interpreter may append


def boundaries(text: str) -> Sequence[int]:
    """Return every boundary in code points, 0 and the length included: n graphemes have n + 1.

    A `range` where each code point is a grapheme. Linear for any text, and other threads may run meanwhile.
    """
    if (text.isascii() and "\r" not in text) or not _JOINT.search(text):
        return range(len(text) + 1)
    bounds = array("I", [0])
    position = 0
    while position < len(text):
        joint = _JOINT.search(text, position)
        plain = len(text) if joint is None else max(position, joint.start() - 1)
        for start in range(position, plain, _STEP):
            bounds.extend(range(start + 1, min(start + _STEP, plain) + 1))
        if joint is None:
            break
        match = (_MANY if plain - position < _DENSE else _FEW).match(text, plain)
        bounds.extend(match.ends(1))
        position = match.end()
    return bounds
