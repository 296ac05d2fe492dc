"""What every splitter promises, for any text: whole, in order, within its size, and never a cut grapheme."""

from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.splitters.registry import SPLITTERS, splitter
from fanfold.fanout.splitters.tokens import count
from fanfold.fanout.types import Split

PIECES = [
    "Fan out, then fold. ",
    "It isn't 3.14; is it? ",
    "a",
    " ",
    "\n",
    "\r\n",
    "\n\n",
    "\t",
    "先展开，再折叠。",
    "中",
    "日本語とカタカナ。",
    "ひらがな",
    "مرحبا بالعالم",
    "؟ ",
    "नमस्ते",
    "क्ष",
    "ไทย",
    "한국어",
    "각",
    "👩‍👩‍👧‍👦",
    "🇩🇪🇯🇵",
    "🏽",
    "👋🏽",
    "1️⃣",
    "é",
    "Z̸̡͓a̴l",
    "‍",
    "́",
    "# Heading\n\n",
    "- item\n",
    "```\ncode\n\nmore\n```\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "> quote\n",
    "…",
    "—",
    "_x_",
    "e.g. ",
]
texts = (
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=40)
    .map("".join)
    .filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text))
)
# The vocabulary is loaded once, and other work shares the machine: how long an example takes proves nothing.
at_leisure = settings(deadline=None)
kinds = pytest.mark.parametrize("by", sorted(SPLITTERS))
GRAPHEMES = {"characters", "sentences", "paragraphs", "markdown"}


def boundaries(text: str) -> set[int]:
    """Where graphemes end, told by another library than the splitters use."""
    return {0, *(match.end() for match in regex.finditer(r"\X", text))}


def graphemes(text: str) -> int:
    return len(regex.findall(r"\X", text))


def words(text: str) -> int:
    """Words of UAX #29 by another library; each ideograph is one there too."""
    segments = regex.split(r"(?w)\b", text, flags=regex.V1)
    return sum(1 for segment in segments if regex.search(r"[\p{Alphabetic}\p{N}]", segment))


@st.composite
def splits(draw):
    size = draw(st.integers(1, 30))
    return size, draw(st.integers(0, size - 1))


class TestWhole:
    @kinds
    @at_leisure
    @given(text=texts, size=st.integers(1, 40))
    def test_without_overlap_the_chunks_joined_are_the_text(self, by, text, size):
        spans = splitter(by)(text, Split(by=by, size=size))
        assert "".join(text[start:end] for start, end in spans) == text
        assert all(start < end for start, end in spans)
        assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]

    @kinds
    @at_leisure
    @given(text=texts, split=splits())
    def test_with_overlap_every_chunk_goes_on_and_nothing_is_left_out(self, by, text, split):
        size, overlap = split
        spans = splitter(by)(text, Split(by=by, size=size, overlap=overlap))
        assert (spans == []) == (text == "")
        if spans:
            assert (spans[0][0], spans[-1][1]) == (0, len(text))
        for (start, end), (next_start, next_end) in pairwise(spans):
            assert start < next_start <= end < next_end

    @kinds
    @at_leisure
    @given(text=texts, split=splits())
    def test_no_grapheme_is_ever_cut(self, by, text, split):
        size, overlap = split
        whole = boundaries(text)
        for span in splitter(by)(text, Split(by=by, size=size, overlap=overlap)):
            assert whole.issuperset(span)


class TestSize:
    @pytest.mark.parametrize("by", sorted(GRAPHEMES))
    @at_leisure
    @given(text=texts, split=splits())
    def test_no_chunk_has_more_graphemes_than_its_size(self, by, text, split):
        size, overlap = split
        for start, end in splitter(by)(text, Split(by=by, size=size, overlap=overlap)):
            assert graphemes(text[start:end]) <= size

    @at_leisure
    @given(text=texts, split=splits())
    def test_no_chunk_has_more_tokens_than_its_size_unless_one_grapheme_has(self, text, split):
        size, overlap = split
        for start, end in splitter("tokens")(text, Split(by="tokens", size=size, overlap=overlap)):
            chunk = text[start:end]
            assert count(chunk) <= size or graphemes(chunk) == 1

    @at_leisure
    @given(text=texts, size=st.integers(1, 10))
    def test_characters_fill_every_chunk_but_the_last(self, text, size):
        spans = splitter("characters")(text, Split(size=size))
        assert all(graphemes(text[start:end]) == size for start, end in spans[:-1])

    @at_leisure
    @given(text=texts, split=splits())
    def test_characters_repeat_just_the_overlap(self, text, split):
        size, overlap = split
        spans = splitter("characters")(text, Split(size=size, overlap=overlap))
        for (_, end), (start, _) in pairwise(spans):
            assert graphemes(text[start:end]) == overlap

    @kinds
    @at_leisure
    @given(text=texts, split=splits())
    def test_what_is_repeated_is_within_the_overlap(self, by, text, split):
        size, overlap = split
        measure = {"words": words, "tokens": count}.get(by, graphemes)
        spans = splitter(by)(text, Split(by=by, size=size, overlap=overlap))
        for (_, end), (start, _) in pairwise(spans):
            assert measure(text[start:end]) <= overlap


class TestKinds:
    @pytest.mark.parametrize(
        ("by", "size", "text", "chunks"),
        [
            ("characters", 2, "a👩‍👩‍👧‍👦b🇩🇪", ["a👩‍👩‍👧‍👦", "b🇩🇪"]),
            ("characters", 1, "e\u0301\r\n각", ["e\u0301", "\r\n", "각"]),
            ("words", 2, "One two, three four.", ["One two, ", "three four."]),
            ("words", 2, "先展开，再折叠", ["先展", "开，再", "折叠"]),
            ("words", 1, "can't 3.14 café", ["can't ", "3.14 ", "café"]),
            ("words", 1, "カタカナ語", ["カタカナ", "語"]),
            ("words", 1, "...a b", ["...a ", "b"]),
            (
                "sentences",
                20,
                "One is here. Two is there. 三在这里。",
                ["One is here. ", "Two is there. 三在这里。"],
            ),
            ("sentences", 8, "先展开，再折叠。再来一次！", ["先展开，再折叠。", "再来一次！"]),
            ("paragraphs", 12, "One.\n\nTwo.\n\nThree.", ["One.\n\nTwo.\n\n", "Three."]),
            (
                "markdown",
                30,
                "# A\n\ntext of a\n\n# B\n\ntext of b\n",
                ["# A\n\ntext of a\n\n", "# B\n\ntext of b\n"],
            ),
            ("tokens", 2, "Hello world again", ["Hello world", " again"]),
        ],
    )
    def test_cut_as_the_contract_says(self, by, size, text, chunks):
        spans = splitter(by)(text, Split(by=by, size=size))
        assert [text[start:end] for start, end in spans] == chunks

    def test_a_fence_that_fits_stays_whole(self):
        text = "Before.\n\n```python\nfirst = 1\n\nsecond = 2\n```\n\nAfter.\n"
        spans = splitter("markdown")(text, Split(by="markdown", size=45))
        assert any("first = 1\n\nsecond = 2" in text[start:end] for start, end in spans)

    @pytest.mark.parametrize("by", ["sentences", "paragraphs", "markdown"])
    def test_what_is_too_large_falls_to_the_next_lower_level(self, by):
        text = "One two three four. " * 3
        spans = splitter(by)(text, Split(by=by, size=10))
        assert [text[start:end] for start, end in spans][:2] == ["One two ", "three "]
        spans = splitter(by)("unbroken" * 3, Split(by=by, size=10))
        assert [end - start for start, end in spans] == [10, 10, 4]

    def test_tokens_are_those_of_o200k_base(self):
        assert [count(text) for text in ("", "Hello world", "你好，世界", "👩‍👩‍👧‍👦")] == [0, 2, 3, 11]
        assert count("<|endoftext|>") > 1, "a special token is text here"

    def test_an_unknown_kind_is_told_which_there_are(self):
        with pytest.raises(UnknownKind, match="characters"):
            splitter("lines")


class TestHostileTexts:
    @kinds
    @pytest.mark.parametrize(
        "text",
        [
            "a" * 200_000,
            " " * 200_000,
            "\n" * 200_000,
            "a" + "\u0301" * 200_000,
            "👩‍" * 50_000,
            "中" * 200_000,
            "🇩" * 2_001,
            "```\n" * 50_000,
            "| a " * 50_000,
            "a." * 100_000,
            "'" * 200_000,
            "\u0600" * 100_000,
            "क्" * 100_000,
        ],
        ids=lambda text: f"{text[:4]!r}",
    )
    def test_end_and_keep_every_promise(self, by, text):
        spans = splitter(by)(text, Split(by=by, size=1000))
        assert (spans[0][0], spans[-1][1]) == (0, len(text))
        assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
        assert {edge for span in spans for edge in span} <= boundaries(text)
