"""Counts are those of OpenAI's tiktoken 0.14 with the vocabulary `o200k_base`."""

from itertools import pairwise

import pytest

from fanfold.fanout.splitters import tokens
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks

FAMILY = "👨\u200d👩\u200d👧\u200d👦"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("hello world", 2),
        ("don't I'LL they've", 4),
        ("    def f(x):\r\n\treturn 1_000.5", 12),
        ("我们都是好朋友。今天天气很好，", 10),
        ("日本語のテストです。カタカナ", 11),
        ("العربية لُغَةٌ جميلة", 9),
        ("हिन्दी भाषा", 4),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 11),
        ("🇩🇪1️⃣👍🏽", 9),
        ("z̴̡͎ é", 9),
        ("<|endoftext|>", 7),
        ("a" * 1000, 125),
        (" " * 1000, 9),
        ("\n" * 1000, 63),
    ],
)
def test_counts_are_those_of_tiktoken(text, count):
    assert tokens.count(text) == count


@pytest.mark.parametrize(
    "text", ["The quick brown fox, it's here. ", "我们都是好朋友，", f"{FAMILY} ok. ", "line\r\n"]
)
def test_a_long_text_counts_as_much_in_parts_as_its_sentences_do(text):
    assert tokens.count(text * 40_000) == pytest.approx(40_000 * tokens.count(text * 100) / 100, rel=0.01)


def test_chunks_are_filled_with_whole_words():
    text = "The quick brown fox jumps over the lazy dog."
    assert chunks(text, tokens.tokens(text, Split(by="tokens", size=4))) == [
        "The quick brown fox",
        " jumps over the lazy",
        " dog.",
    ]


def test_a_word_over_the_size_falls_into_its_tokens():
    text = "x antidisestablishmentarianism y"
    parts = chunks(text, tokens.tokens(text, Split(by="tokens", size=2)))
    assert "".join(parts) == text
    assert all(tokens.count(part) <= 2 for part in parts)


def test_chinese_without_a_stop_is_filled_up_to_the_size():
    text = "我们都是好朋友今天天气很好大家一起去公园散步" * 40
    parts = chunks(text, tokens.tokens(text, Split(by="tokens", size=50)))
    assert all(45 <= tokens.count(part) <= 50 for part in parts[:-1])


def test_one_grapheme_may_be_over_the_size():
    assert chunks(FAMILY * 2, tokens.tokens(FAMILY * 2, Split(by="tokens", size=3))) == [FAMILY, FAMILY]


def test_overlap_repeats_tokens():
    text = "one two three four five six seven"
    spans = tokens.tokens(text, Split(by="tokens", size=4, overlap=2))
    assert chunks(text, spans) == ["one two three four", " three four five six", " five six seven"]


@pytest.mark.parametrize("letter", ["a", "好", " ", "\n", FAMILY, "A"])
@pytest.mark.parametrize("overlap", [0, 20])
def test_a_long_text_without_boundaries(letter, overlap):
    text = letter * 40_000
    spans = tokens.tokens(text, Split(by="tokens", size=100, overlap=overlap))
    assert all(tokens.count(text[start:end]) <= 100 for start, end in spans)
    assert all(following <= end for (_, end), (following, _) in pairwise(spans))
    assert sum(end - start for start, end in spans) >= len(text)


@pytest.mark.parametrize(
    "text", ["it's we'll they've ", "!?!?foo ", "  \n \n  x", "/\n/\n//a", "١٢٣٤٥٦", "❤\ufe0f😀!\u0301"]
)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_parts_of_cut_pieces_count_no_more_than_they_should(text, size):
    """Cut off, the beginning or end of a piece may be other pieces than in the whole."""
    spans = tokens.tokens(text * 5, Split(by="tokens", size=size))
    over = [part for part in chunks(text * 5, spans) if tokens.count(part) > size]
    assert all(len(part) <= 2 for part in over)  # one letter of several tokens, with its mark
