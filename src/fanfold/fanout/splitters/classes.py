"""Texts as strings of classes: one ASCII letter for each code point, so that rules become short, fast patterns."""

from collections.abc import Mapping

import regex

# Unassigned and private planes: 4 to 13, and what follows the tags and variation selectors of plane 14.
_EMPTY = (range(0x40000, 0xE0000), range(0xE0200, 0x110000))
_STEP = 65_536  # code points translated in one call, which holds the interpreter for some 4 ms


class Classes(dict[int, str]):
    """Maps code points to the letter of the first property set they are in, else to `other`; fills itself.

    `sets` maps letters to sets in the notation of the `regex` package. Planes that hold no letters are not kept, so
    that no text can make this large: at most 262,144 code points.
    """

    def __init__(self, sets: Mapping[str, str], *, other: str = "-") -> None:
        super().__init__()
        self._other = other
        self._letters = tuple(sets)
        self._pattern = regex.compile("|".join(f"({members})" for members in sets.values()), regex.V1)

    def __missing__(self, code_point: int) -> str:
        if any(code_point in plane for plane in _EMPTY):
            return self._other
        match = self._pattern.match(chr(code_point))
        letter = self._other if match is None else self._letters[match.lastindex - 1]
        self[code_point] = letter
        return letter

    def of(self, text: str) -> str:
        """Return the classes of `text`, one ASCII letter for each code point."""
        steps = range(0, len(text), _STEP)
        return "".join([text[start : start + _STEP].translate(self) for start in steps])
