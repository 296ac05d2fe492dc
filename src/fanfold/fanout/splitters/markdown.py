"""Splits Markdown: sections under their headings first, then blocks, of which fenced code is one."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from fanfold.fanout.splitters.falling import FallingUnits, Level
from fanfold.fanout.splitters.packing import pack
from fanfold.fanout.splitters.paragraphs import PARAGRAPH_LEVELS
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Split

# Lines after https://spec.commonmark.org/0.31.2/: fences of code, headings (`#`, or underlined), blank lines, others;
# all but the last with the blank lines behind them. Fences are taken at any indentation and in quotes, for lists and
# quotes have code too.
_LINE = re.compile(
    r"""
    (?: [ \t>]*+(?P<fence>`{3,}+(?=[^`\n]*+$)|~{3,}+)(?P<info>.*+)\n?
    |(?P<heading>[ ]{0,3}+(?:
        \#{1,6}+(?:[ \t\r].*+|$)
        |(?![ \t>|\#*+-])\S.*+\n[ ]{0,3}+(?:=++|-++)[ \t\r]*+$
    ))\n?
    |(?P<blank>[ \t\r]*+\n)
    )(?>[ \t\r\n]*\n)?
    |.*+(?:\n|\Z)""",
    re.VERBOSE | re.MULTILINE,
)


def markdown(text: str, split: Split) -> list[tuple[int, int]]:
    """Return spans of whole sections, at most `split.size` graphemes; a longer one falls into blocks, then further.

    A section that does not fit into a chunk begins a new one, so that no heading ends the chunk before its section.
    """
    return pack(markdown_units(text, split), split.size, split.overlap)


def markdown_units(text: str, split: Split) -> Units:
    """Return whole sections, and what longer ones fall into; they can be made anew from where a section begins.

    Where none does, a block will do, which is never within code. The line before the last may be a heading by what the
    last one turns out to be.
    """
    outline = _Outline(text)
    levels = (_between(outline.sections), _between(outline.blocks), *PARAGRAPH_LEVELS)
    units = FallingUnits(text, split.size, levels)
    breaks = _starts_of_large(outline.sections, units, split.size)
    anchors, blocks = outline.sections, outline.blocks
    return Units(
        units.bounds, units.measure, breaks, anchors=anchors, rough=blocks, settled=_known_lines_end(text)
    )


def _known_lines_end(text: str) -> int:
    """Where the last line begins that is complete, and the one behind it too."""
    end = len(text)
    for _ in range(3):
        end = text.rfind("\n", 0, max(end, 0))
    return end + 1


class _Outline:
    """Ends of units in code points: sections, and blocks, where a heading is of one block with what follows."""

    def __init__(self, text: str) -> None:
        self.sections = array("I")
        self.blocks = array("I")
        self._heading_end = 0  # nothing is cut between a heading and what directly follows it
        self._fence = ""  # what opened the code we are in
        for line in _LINE.finditer(text):
            if line.lastgroup is None:
                continue
            if self._fence:
                self._in_code(line)
            elif line.lastgroup == "blank":
                self._end_block(line.end())
            else:
                self._open(line)

    def _in_code(self, line: re.Match[str]) -> None:
        """Leaves the code where a fence as long or longer closes it, with nothing behind."""
        if line["fence"] and line["fence"].startswith(self._fence) and not line["info"].strip():
            self._fence = ""
            self._end_block(line.end())

    def _open(self, line: re.Match[str]) -> None:
        is_heading = line["heading"] is not None
        if line.start() != self._heading_end:
            self._end_block(line.start())
            if is_heading:
                self.sections.append(line.start())
        if is_heading:
            self._heading_end = line.end()
        else:
            self._fence = line["fence"]

    def _end_block(self, position: int) -> None:
        if not self.blocks or self.blocks[-1] != position:
            self.blocks.append(position)


def _between(ends: Sequence[int]) -> Level:
    def level(_text: str, start: int, stop: int) -> Iterator[list[int]]:
        first, last = bisect_right(ends, start), bisect_left(ends, stop)
        for index in range(first, last, 512):
            yield list(ends[index : min(index + 512, last)])

    return level


def _starts_of_large(sections: Sequence[int], units: FallingUnits, size: int) -> list[int]:
    """Indexes of the units with which a section begins that is over the size."""
    indexes = [bisect_left(units.bounds, position) for position in (*sections, units.bounds[-1])]
    return [start for start, end in pairwise(indexes) if units.measure[end] - units.measure[start] > size]
