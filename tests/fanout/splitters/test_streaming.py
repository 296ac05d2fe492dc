"""A text that comes in pieces is cut into the very chunks that it is cut into whole."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanfold.fanout.errors import InvalidPlan, TooManyChunks, UnknownKind
from fanfold.fanout.splitters.registry import SPLITTERS, UNITS, splitter, units_of
from fanfold.fanout.splitters.streaming import Reach, StreamedText
from fanfold.fanout.splitters.units import Units
from fanfold.fanout.types import Chunk, Split
from tests.fanout.splitters.texts import PIECES

# As the product's windows are to its texts, so are these to texts of a few thousand characters.
REACH = Reach(window=500, lookahead=80)
FENCES = "`~"
# A heading directly behind another, or but blank lines behind it, begins no section: a word stands before each.
ENDS = {"paragraphs": "\n\n", "markdown": "\n\n文\n\n# 題 of part\n\n", "sentences": "。\n"}
CODE = "\n```py\n# no heading\n\nx = 1\n```\n"
seeds = st.integers(0, 2**32)
splits = st.tuples(st.sampled_from((1, 3, 8, 20, 60)), st.sampled_from((0, 0, 1, 5, 19)))


def written(seed: int, by: str) -> str:
    """A text of stretches (paragraphs, sections) that are all shorter than a window, of anything else there is."""
    dice = random.Random(seed)
    pieces: Sequence[str] = PIECES
    if by == "markdown":
        pieces = [CODE, *(piece for piece in PIECES if not set(piece) & set(FENCES))]
    chosen = [dice.choice(pieces) for _ in range(dice.randint(1, 30))]
    stretches = [
        "".join(dice.choice(chosen) for _ in range(dice.randint(1, 18))) for _ in range(dice.randint(5, 60))
    ]
    return ENDS.get(by, "").join(stretches)


def whole(text: str, split: Split) -> list[Chunk]:
    spans = splitter(split.by)(text, split)
    return [Chunk(index, start, end, text[start:end]) for index, (start, end) in enumerate(spans)]


def streamed(
    text: str, split: Split, *, piece: int = 70, reach: Reach | None = REACH, most: int = 10**6
) -> list[Chunk]:
    cutting = StreamedText(units_of(split.by), split, max_chunks=most, reach=reach)
    chunks: list[Chunk] = []
    for start in range(0, len(text), piece):
        cutting.add(text[start : start + piece])
        if cutting.is_due:
            chunks += cutting.cut()
    chunks += cutting.end()
    assert (cutting.characters, cutting.chunks) == (len(text), len(chunks))
    return chunks


def split_of(by: str, size: int, overlap: int) -> Split:
    return Split(by=by, size=size, overlap=min(overlap, size - 1))


@pytest.mark.parametrize("by", ["characters", "words", "sentences", "paragraphs", "markdown"])
@settings(max_examples=60, deadline=None)
@given(seed=seeds, sizes=splits, piece=st.sampled_from((1, 7, 70, 1000)))
@example(seed=373, sizes=(3, 0), piece=1)  # of headings and blank lines alone
def test_the_chunks_are_those_of_the_whole(by, seed, sizes, piece):
    text, split = written(seed, by), split_of(by, *sizes)
    assert streamed(text, split, piece=piece) == whole(text, split)


@settings(max_examples=12, deadline=None)
@given(seed=seeds, size=st.sampled_from((5, 60, 700)), overlap=st.sampled_from((0, 4)))
@example(seed=92450350, size=700, overlap=0)  # a batch ends within a grapheme
def test_tokens_are_those_of_the_whole(seed, size, overlap):
    """They come in batches of a thousand, so that it takes more text to have some.

    A batch that ends within a grapheme is of one stretch with the next, and two of them are shorter than a window.
    """
    text, split = written(seed, "words") * 24, split_of("tokens", size, overlap)
    assert streamed(text, split, piece=900, reach=Reach(window=15_000, lookahead=80)) == whole(text, split)


@pytest.mark.parametrize("by", sorted(SPLITTERS))
@settings(max_examples=25, deadline=None)
@given(seed=seeds, size=st.sampled_from((1, 8, 60)))
def test_chunks_always_join_to_the_text(by, seed, size):
    """Also where nothing ends within a window, neither a paragraph nor code."""
    dice = random.Random(seed)
    chosen = [dice.choice(PIECES) for _ in range(dice.randint(1, 6))]
    text = "".join(dice.choice(chosen) for _ in range(400))
    chunks = streamed(text, Split(by=by, size=size))
    assert "".join(chunk.text for chunk in chunks) == text
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)


def test_all_splitters_have_their_units_and_no_other_has():
    assert sorted(UNITS) == sorted(SPLITTERS)
    with pytest.raises(UnknownKind):
        units_of("dice")


def test_a_block_is_gone_on_from_where_no_section_begins():
    """A block never begins within code, so that what follows the code is not taken for it."""
    code = "```py\n" + "# no heading\n\nx = 1\n\n" * 6 + "```\n\n"
    split = Split(by="markdown", size=40)
    for text in ("word in a block\n\n" * 60 + code * 40, code * 40):
        assert streamed(text, split) == whole(text, split)


def swept(text: str, split: Split, windows: range) -> None:
    """Cut once at each of these places, with hardly any foresight."""
    for window in windows:
        reach = Reach(window=window, lookahead=1)
        cutting = StreamedText(units_of(split.by), split, max_chunks=9999, reach=reach)
        cutting.add(text[:window])
        chunks = cutting.cut()
        cutting.add(text[window:])
        assert [*chunks, *cutting.end()] == whole(text, split)


def test_a_line_before_the_last_may_still_be_a_heading():
    text = "x" * 470 + "\n\n" + "a b c d e " * 5 + "f\n" + "=" * 20 + "\n" + "y " * 400
    swept(text, Split(by="markdown", size=12), range(470, 560))


def test_a_paragraph_that_is_not_here_yet_may_be_too_long_and_fall():
    text = "Aa bb. " * 10 + "\n\n" + "Cc dd. " * 40
    swept(text, Split(by="paragraphs", size=90), range(60, 300))


class TestBounds:
    def test_what_is_held_does_not_grow_with_the_text(self):
        longest = 0

        def units(text: str, split: Split) -> Units:
            nonlocal longest
            longest = max(longest, len(text))
            return UNITS["sentences"](text, split)

        cutting = StreamedText(units, Split(by="sentences", size=20), max_chunks=10**6, reach=REACH)
        for _ in range(2000):
            cutting.add("一句话。Another one. ")
            if cutting.is_due:
                cutting.cut()
        assert longest < 2 * REACH.window
        assert cutting.characters == 2000 * 17

    @pytest.mark.parametrize("by", ["sentences", "paragraphs", "markdown", "tokens"])
    def test_nor_with_a_stretch_that_does_not_end(self, by):
        longest = 0

        def units(text: str, split: Split) -> Units:
            nonlocal longest
            longest = max(longest, len(text))
            return UNITS[by](text, split)

        cutting = StreamedText(units, Split(by=by, size=20), max_chunks=10**6, reach=REACH)
        cutting.add("# 一个字\n\n二。\n\n")
        for _ in range(200):
            cutting.add("字" * 100)
            if cutting.is_due:
                cutting.cut()
        assert longest < 8 * REACH.window

    def test_as_many_chunks_as_allowed_and_not_one_more(self):
        text, split = "文" * 2000, Split(size=2)
        assert len(streamed(text, split, most=1000)) == 1000
        with pytest.raises(TooManyChunks, match="999"):
            streamed(text, split, most=999)
        with pytest.raises(TooManyChunks, match="9"):
            streamed(text, split, most=9)

    def test_a_count_that_is_too_high_is_told_before_the_text_has_ended(self):
        cutting = StreamedText(units_of("characters"), Split(size=1), max_chunks=9, reach=REACH)
        cutting.add("文" * 500)
        with pytest.raises(TooManyChunks):
            cutting.cut()

    def test_overlap_may_not_multiply_a_long_text(self):
        split = Split(size=2000, overlap=1990)
        with pytest.raises(TooManyChunks, match="overlap"):
            streamed("字" * 20_000, split, piece=5000, reach=Reach(window=5000, lookahead=80))

    def test_one_grapheme_cannot_take_all_memory(self):
        """Marks without end belong to the letter before them: nothing is cut there."""
        with pytest.raises(InvalidPlan, match="smaller size"):
            streamed("e" + "\u0301" * 40 * REACH.window, Split(size=1), piece=1000)

    def test_without_text_there_are_no_chunks(self):
        assert streamed("", Split()) == []
