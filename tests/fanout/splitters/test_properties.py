"""What holds for every kind of splitter and any text."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.fanout.splitters import tokens
from fanfold.fanout.splitters.registry import SPLITTERS, splitter
from fanfold.fanout.types import Split
from tests.fanout.splitters.texts import chunks, grapheme_bounds, sizes, texts

KINDS = tuple(SPLITTERS)


def measures(kind: str, text: str):
    """Each chunk's measure, computed apart from the splitter."""
    if kind == "tokens":
        return lambda start, end: tokens.count(text[start:end])
    if kind == "words":
        begins = [start for start, _ in splitter("words")(text, Split(by="words", size=1))]
        return lambda start, end: sum(start <= begin < end for begin in begins)
    bounds = grapheme_bounds(text)
    return lambda start, end: sum(start <= bound < end for bound in bounds)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=texts, size=sizes)
def test_without_overlap_the_chunks_joined_are_the_text(kind, text, size):
    spans = splitter(kind)(text, Split(by=kind, size=size))
    assert "".join(chunks(text, spans)) == text
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert all(start < end for start, end in spans)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=texts, size=sizes, data=st.data())
def test_no_grapheme_is_cut(kind, text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    spans = splitter(kind)(text, Split(by=kind, size=size, overlap=overlap))
    assert {position for span in spans for position in span} <= set(grapheme_bounds(text))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=texts, size=sizes, data=st.data())
def test_no_chunk_is_over_its_size_unless_one_grapheme_is(kind, text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    spans = splitter(kind)(text, Split(by=kind, size=size, overlap=overlap))
    measure = measures(kind, text)
    bounds = grapheme_bounds(text)
    over = [(start, end) for start, end in spans if measure(start, end) > size]
    assert all(sum(start <= bound < end for bound in bounds) == 1 for start, end in over)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(text=texts, size=sizes, data=st.data())
def test_overlap_is_bounded_and_every_chunk_goes_on(kind, text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    spans = splitter(kind)(text, Split(by=kind, size=size, overlap=overlap))
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    measure = measures(kind, text)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start <= end < next_end
        if next_start < end:
            assert measure(next_start, end) <= overlap


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_gives_no_chunk(kind):
    assert splitter(kind)("", Split(by=kind)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_text_is_one_chunk(kind):
    text = "One. 二つ。\n\n# Three 👨\u200d👩\u200d👧\u200d👦\n"
    assert splitter(kind)(text, Split(by=kind)) == [(0, len(text))]
