import pytest

from fanfold.fanout.splitters.characters import characters
from fanfold.fanout.splitters.graphemes import boundaries
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks, grapheme_bounds

FAMILY = "👨\u200d👩\u200d👧\u200d👦"


@pytest.mark.parametrize(
    ("text", "graphemes"),
    [
        ("a\r\nb", ["a", "\r\n", "b"]),
        ("🇩🇪🇫🇷🇯", ["🇩🇪", "🇫🇷", "🇯"]),
        (f"{FAMILY}👍🏽1\ufe0f\u20e3", [FAMILY, "👍🏽", "1\ufe0f\u20e3"]),
        ("e\u0301z\u0334\u0321", ["e\u0301", "z\u0334\u0321"]),
        ("क्षि", ["क्षि"]),
        ("각각", ["각", "각"]),
        ("中文", ["中", "文"]),
        ("กำ", ["กำ"]),
    ],
)
def test_a_character_is_what_people_count(text, graphemes):
    assert chunks(text, characters(text, Split(size=1))) == graphemes


def test_overlap_repeats_graphemes():
    text = f"ab{FAMILY}cd"
    assert chunks(text, characters(text, Split(size=3, overlap=1))) == [f"ab{FAMILY}", f"{FAMILY}cd"]


@pytest.mark.parametrize(
    "text",
    [
        "plain " * 30_000 + "e\u0301" + " plain" * 30_000,
        "🇩🇪" * 50_000,
        FAMILY * 20_000,
        "a" + "\u0301" * 200_000,
        "line\r\n" * 40_000,
        "क्षि " * 40_000,
        "a" * 70_000 + "\r\n" + "中" * 70_000,
    ],
    ids=["rare", "flags", "families", "one", "lines", "conjuncts", "far"],
)
def test_long_texts_have_the_same_graphemes(text):
    """Stretches without joints are passed over and others taken by the hundred: nothing is lost between."""
    ours = list(boundaries(text))
    pairs = list(range(0, len(text) + 1, 2))
    assert ours == (pairs if text.startswith("🇩") else grapheme_bounds(text))
