"""Work grows with the text and no faster, counted in calls: nothing here depends on the machine's speed."""

import sys
from itertools import pairwise

import pytest

from fanfold.fanout.splitters.registry import SPLITTERS
from fanfold.fanout.types import Split

TEXTS = {
    "one letter": "a",
    "capitals": "A",
    "no boundary": "好",
    "line ends": "\n",
    "windows line ends": "\r\n",
    "spaces": " ",
    "families": "👨\u200d👩\u200d👧\u200d👦",
    "flags": "🇩🇪",
    "one grapheme": "\u0301",
    "words that end within graphemes": "b\u200d",
    "chained": "👨\u200d",
    "connectors": "_ ",
    "stops": ". ",
    "words": "The quick brown fox. ",
    "chinese": "我们都是好朋友。",
    "arabic": "لُغَةٌ جَمِيلَةٌ. ",
    "headings": "# a\n",
    "fences": "```\n",
    "table": "| 1 | 2 |\n",
    "paragraphs": "a\n\n",
}


def calls(kind: str, text: str, split: Split) -> int:
    """Python and C calls made; of C calls, each batch is one."""
    count = 0

    def hook(_frame, event, _arg):
        nonlocal count
        count += event in {"call", "c_call"}

    splitter = SPLITTERS[kind]
    previous = sys.getprofile()
    sys.setprofile(hook)
    try:
        splitter(text, split)
    finally:
        sys.setprofile(previous)
    return count


@pytest.mark.parametrize("kind", SPLITTERS)
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("overlap", [0, 30])
def test_four_times_the_text_is_four_times_the_work(kind, name, overlap):
    split = Split(by=kind, size=40, overlap=overlap)
    unit = TEXTS[name]
    small, large = (("x " + unit * (length // len(unit)))[:length] for length in (10_000, 40_000))
    calls(kind, small, split)  # fills the tables of classes
    assert calls(kind, large, split) <= 5 * calls(kind, small, split) + 500


@pytest.mark.parametrize("kind", SPLITTERS)
@pytest.mark.parametrize("name", TEXTS)
def test_a_long_text_of_one_thing(kind, name):
    """What would be quadratic inside one call of a library would not end here within the time a run is given."""
    unit = TEXTS[name]
    text = ("x " + unit * (300_000 // len(unit)))[:300_000]
    spans = SPLITTERS[kind](text, Split(by=kind, size=500))
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
