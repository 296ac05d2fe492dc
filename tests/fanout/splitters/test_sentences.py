import pytest

from fanfold.fanout.splitters.sentences import sentence_ends, sentences
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks


def split_sentences(text: str) -> list[str]:
    ends = [end for batch in sentence_ends(text, 0, len(text)) for end in batch if end < len(text)]
    return chunks(text, list(zip([0, *ends], [*ends, len(text)], strict=True)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One. ", "Two? ", "Three!"]),
        ("It is 3.14 m. Yes.", ["It is 3.14 m. ", "Yes."]),
        ("The U.S. army, e.g. this one.", ["The U.S. army, e.g. this one."]),
        ("“Go!” She went. (Soon.) End", ["“Go!” ", "She went. ", "(Soon.) ", "End"]),
        ("Wait... what? No", ["Wait... what? ", "No"]),
        ("今天天气很好。我们去公园！好吗？", ["今天天气很好。", "我们去公园！", "好吗？"]),
        ("「行こう。」彼は言った。", ["「行こう。」", "彼は言った。"]),
        ("كيف حالك؟ أنا بخير.", ["كيف حالك؟ ", "أنا بخير."]),
        ("यह वाक्य है। यह भी।", ["यह वाक्य है। ", "यह भी।"]),
        ("line one\nline two\r\n\r\n  three", ["line one\n", "line two\r\n\r\n", "  three"]),
    ],
)
def test_sentences_of_uax_29(text, expected):
    assert split_sentences(text) == expected


def test_whole_sentences_up_to_the_size():
    text = "One two. Three four. Five six."
    assert chunks(text, sentences(text, Split(by="sentences", size=22))) == [
        "One two. Three four. ",
        "Five six.",
    ]


def test_a_long_sentence_falls_into_words_and_a_long_word_into_graphemes():
    text = "One two three four, abcdefghijkl."
    expected = ["One two ", "three ", "four, ab", "cdefghij", "kl."]
    assert chunks(text, sentences(text, Split(by="sentences", size=8))) == expected


def test_overlap_repeats_whole_sentences():
    text = "Aa. Bb. Cc. Dd."
    assert chunks(text, sentences(text, Split(by="sentences", size=8, overlap=4))) == [
        "Aa. Bb. ",
        "Bb. Cc. ",
        "Cc. Dd.",
    ]
