"""Events and lines out of pieces: the same ones, wherever the pieces are cut."""

from itertools import pairwise

import pytest

from fanfold.fanout.adapters.lines import MAX_LINE_BYTES, EventStream, JsonLines, Lines
from fanfold.fanout.errors import CallFailed
from fanfold.fanout.types import ErrorCode


def fed(frames, body: bytes, *cuts: int) -> list[bytes]:
    edges = [0, *cuts, len(body)]
    return [event for start, end in pairwise(edges) for event in frames.feed(body[start:end])]


LINES = "先\n\n展开\r\n\r\r👩‍🚀\rx\n".encode()
EVENTS = (
    "\ufeffdata: 先展开\n\n"
    ": a comment\r\nevent: chunk\r\nid: 7\r\nretry: 10\r\ndata:  two spaces\r\n\r\n"
    "data: one\rdata:two\rdata\r\r"
    "data: 再折叠👩‍🚀\ndatabase: no\n data: nor this\n\n"
    "event: nothing\n\n"
    "data\n\n"
    "data: \ufeffwithin\n\n"
    "\ufeffdata: not the first line\n\n"
    "data: cut off\n"
).encode()
FOUND = ["先展开", " two spaces", "one\ntwo\n", "再折叠👩‍🚀", "\ufeffwithin"]


class TestLines:
    def test_they_end_with_cr_lf_or_both(self):
        assert fed(Lines(), LINES) == [text.encode() for text in ("先", "", "展开", "", "", "👩‍🚀", "x")]

    def test_two_cuts_anywhere_change_nothing(self):
        whole = fed(Lines(), LINES)
        for first in range(len(LINES) + 1):
            for second in range(first, len(LINES) + 1):
                assert fed(Lines(), LINES, first, second) == whole

    def test_a_line_is_there_as_soon_as_its_cr_is(self):
        lines = Lines()
        assert list(lines.feed(b"a\r")) == [b"a"]
        assert list(lines.feed(b"")) == []
        assert list(lines.feed(b"\nb\n")) == [b"b"]

    def test_other_ends_of_unicode_are_text(self):
        text = "a\u2028b\u0085c\x0bd\x0ce\x1cf\n".encode()
        assert fed(Lines(), text) == [text[:-1]]

    def test_what_has_no_end_yet_is_the_rest(self):
        lines = Lines()
        assert fed(lines, b"a\nb", 2) == [b"a"]
        assert lines.rest() == b"b"

    @pytest.mark.parametrize("frames", [Lines, JsonLines, EventStream])
    def test_a_line_without_end_is_too_large_before_it_is_kept(self, frames):
        one = frames()
        fed(one, b"x" * MAX_LINE_BYTES, *range(65_536, MAX_LINE_BYTES, 65_536))
        with pytest.raises(CallFailed) as failure:
            list(one.feed(b"x"))
        assert failure.value.error.code is ErrorCode.TOO_LARGE

    def test_the_longest_line_passes(self):
        assert fed(Lines(), b"x" * MAX_LINE_BYTES + b"\n", 10) == [b"x" * MAX_LINE_BYTES]

    def test_many_lines_are_not_one(self):
        assert sum(1 for _ in range(40) for _ in Lines().feed(b"x" * 65_535 + b"\n")) == 40


class TestEvents:
    def test_they_are_read_as_published(self):
        assert fed(EventStream(), EVENTS) == [text.encode() for text in FOUND]

    def test_cuts_anywhere_change_nothing(self):
        whole = fed(EventStream(), EVENTS)
        for first in range(len(EVENTS) + 1):
            assert fed(EventStream(), EVENTS, first) == whole
        assert fed(EventStream(), EVENTS, *range(1, len(EVENTS))) == whole

    def test_an_event_without_its_empty_line_is_none(self):
        stream = EventStream()
        assert fed(stream, b"data: a\n") == []
        assert stream.rest() == b""

    @pytest.mark.parametrize("line", [b"data: " + b"x" * 1000 + b"\n", b"data\n"])
    def test_an_event_of_endless_lines_is_too_large(self, line):
        stream = EventStream()
        with pytest.raises(CallFailed) as failure:
            fed(stream, line * (MAX_LINE_BYTES // len(line) * 6))
        assert failure.value.error.code is ErrorCode.TOO_LARGE

    def test_one_large_event_takes_no_room_of_the_next(self):
        half = b"data: " + b"x" * (MAX_LINE_BYTES // 2 + 10) + b"\n\n"
        assert len(fed(EventStream(), half * 3)) == 3


class TestJsonLines:
    def test_empty_lines_are_passed_over_and_the_last_end_may_be_missing(self):
        frames = JsonLines()
        assert fed(frames, b'{"a": 1}\n\n\r\n{"b": 2}\n{"c": 3}') == [b'{"a": 1}', b'{"b": 2}']
        assert frames.rest() == b'{"c": 3}'
