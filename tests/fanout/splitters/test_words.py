from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.fanout.splitters.words import words
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks

WORDS = ("don't", "3.14", "1,234.5", "e-mail", "a_b", "_c", "x.y", "中文", "の", "カタカナ", "한국어", "العربية",
         "שלום", "Überß", "ﬁ", "٣٫١")  # fmt: skip
OTHERS = (
    " ",
    "  ",
    ", ",
    ". ",
    "\n",
    "\r\n",
    "\u3002",
    "(",
    "\u201d",
    "😀",
    "__ ",
    ":",
    "-",
    "\t",
    "\u2014",
)


def split_words(text: str) -> list[str]:
    return chunks(text, words(text, Split(by="words", size=1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", ["Hello, ", "world!"]),
        ("don't stop", ["don't ", "stop"]),
        ("3.14 and 1,000", ["3.14 ", "and ", "1,000"]),
        ("我们都是好朋友。", ["我", "们", "都", "是", "好", "朋", "友。"]),
        ("日本語のテスト", ["日", "本", "語", "の", "テスト"]),
        ("한국어 문장", ["한국어 ", "문장"]),
        ("لُغَةٌ جميلة", ["لُغَةٌ ", "جميلة"]),
        ("हिन्दी भाषा", ["हिन्दी ", "भाषा"]),
        ("a_b _c __ d", ["a_b ", "_c __ ", "d"]),
        ('צה"ל הוא', ['צה"ל ', "הוא"]),
        ("one 👨\u200d👩\u200d👧 two", ["one 👨\u200d👩\u200d👧 ", "two"]),
        ("cafe\u0301.x", ["cafe\u0301.x"]),
        ("a\u00adb c", ["a\u00adb ", "c"]),
    ],
)
def test_words_of_uax_29(text, expected):
    assert split_words(text) == expected


def test_what_is_no_word_belongs_to_the_one_before_and_at_the_start_to_the_first():
    assert split_words("… «one» — two!\n\n") == ["… «one» — ", "two!\n\n"]


def test_a_text_without_words_is_one_chunk():
    assert split_words("?! \n😀 …") == ["?! \n😀 …"]


def test_size_and_overlap_count_words():
    text = "one two three four five"
    assert chunks(text, words(text, Split(by="words", size=3, overlap=1))) == [
        "one two three ",
        "three four five",
    ]


def test_no_grapheme_is_cut_where_a_word_begins_within_it():
    assert split_words("ก ำ\u0600中") == ["ก ำ", "\u0600中"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS + OTHERS), min_size=1, max_size=40).map("".join))
def test_words_begin_where_the_library_breaks_words(text):
    # No apostrophe between words: the library breaks before a vowel there, as in French; UAX #29 does not.
    breaks = [0, *(match.start() for match in regex.finditer(r"(?w)\b", text, regex.V1)), len(text)]
    segments = [(start, end) for start, end in pairwise(breaks) if start < end]
    begins = [start for start, end in segments if regex.search(r"[\p{Alphabetic}\p{N}]", text[start:end])]
    assert [start for start, _ in words(text, Split(by="words", size=1))] == [0, *begins[1:]]


@pytest.mark.parametrize("filler", ["x", "_", "\u0301", "x_", "'x", "中", " "])
@pytest.mark.parametrize("before", [65_530, 65_533, 65_534, 65_535, 65_536, 65_537])
def test_windows_leave_no_seam(filler, before):
    """The text is read in windows of 65,536: what stands across two of them is cut as anywhere else."""
    text = "x " + (filler * before)[: before - 2] + " don't _stop a\u0301.b\u0301 1,2 __ 中\u0301文"
    expected = ["don't ", "_stop ", "a\u0301.b\u0301 ", "1,2 __ ", "中\u0301", "文"]
    assert split_words(text)[-6:] == expected


@pytest.mark.parametrize("marks", ["\u0301" * 70_000, "\u0301" * 66_000 + "\u17d2" + "\u0301" * 66_000])
def test_a_run_of_marks_is_longer_than_a_window(marks):
    assert split_words(f"a{marks}b c{marks}.d {marks}e") == [f"a{marks}b ", f"c{marks}.d {marks}", "e"]
    linked = marks + "\u17d2" + "\u1780"
    assert split_words(f"\u1780{linked} a") == [f"\u1780{linked} ", "a"]
