"""What every kind that streams must do alike. A new one is in the registry, and so in here."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from fanfold.fanout.adapters.base import StreamingAdapter
from fanfold.fanout.adapters.registry import ADAPTERS
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.types import Cause, ErrorCode
from tests.fanout.adapters.streamed import CREDENTIAL, MAX_BYTES, Pieces, Wire, ask, stream
from tests.fanout.adapters.vendors import VENDORS, Said
from tests.token_streams import STREAMS, Spoken, in_pieces

TEXTS = ["plain", "先展开，再折叠。", "👩‍🚀🇯🇵", 'a\r\nb\u2028c\u0085"\\', "x" * 50_000]
LONG = "先展开，再折叠。" * 3
STREAMING = sorted(kind for kind, one in ADAPTERS.items() if isinstance(one, StreamingAdapter))


@pytest.fixture(params=STREAMING)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spoken(text: str, **fields: Any) -> Spoken:
    given = {"reason": "stop", "tokens": (12, 7)} | fields
    return Spoken(pieces=in_pieces(text, max(3, len(text) // 100)), **given)


def events(kind: str, text: str = "先展开", **fields: Any) -> list[bytes]:
    return list(STREAMS[kind].events(spoken(text, **fields)))


async def failure(kind: str, *pieces: bytes, **options: Any) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        await stream(kind, *pieces, **options)
    assert failed.value.phase is Phase.ANSWERED
    assert "secret" not in failed.value.error.detail
    return failed.value


def test_the_kinds_that_stream_are_those_with_a_published_format():
    assert set(STREAMING) == set(STREAMS)


class TestText:
    @pytest.mark.parametrize("text", TEXTS)
    async def test_what_is_told_is_the_result(self, kind, text):
        answer, told = await stream(kind, *events(kind, text))
        assert "".join(told) == answer.result == text
        assert len(told) > 1
        assert (answer.input_tokens, answer.output_tokens, answer.finish_reason) == (12, 7, "stop")
        assert answer.size == len(text.encode())

    async def test_each_piece_is_told_when_it_comes(self, kind):
        told: list[str] = []
        seen: list[str] = []

        def watched() -> Iterable[bytes]:
            for event in events(kind, "一二三四五六"):
                seen.append("".join(told))
                yield event
            seen.append("".join(told))

        wire = Wire(*(), content_type=STREAMS[kind].media_type)
        wire.body = Pieces(watched())
        await ask(kind, wire, told)
        assert [text for text in dict.fromkeys(seen) if text] == ["一二三", "一二三四五六"]

    async def test_it_is_the_same_however_it_is_cut(self, kind):
        body = b"".join(events(kind, "展👩‍🚀开"))
        for start in range(0, len(body), 7):
            answer, told = await stream(kind, body[:start], body[start:])
            assert "".join(told) == answer.result == "展👩‍🚀开"
        answer, told = await stream(kind, *(body[place : place + 1] for place in range(len(body))))
        assert "".join(told) == answer.result == "展👩‍🚀开"

    async def test_a_stream_says_so_or_says_nothing(self, kind):
        answer, told = await stream(kind, *events(kind), content_type=None)
        assert "".join(told) == answer.result == "先展开"

    async def test_what_says_nothing_is_passed_over(self, kind):
        filler = STREAMS[kind].filler
        answer, _ = await stream(kind, filler, *(event + filler for event in events(kind)))
        assert answer.result == "先展开"

    async def test_without_counts_nothing_is_reported(self, kind):
        answer, _ = await stream(kind, *events(kind, tokens=None))
        assert (answer.input_tokens, answer.output_tokens) == (None, None)

    async def test_nothing_is_read_after_the_end_but_what_keeps_the_connection(self, kind):
        rest = [b"x" * 40_000] * 10
        wire = Wire(*events(kind), *rest, content_type=STREAMS[kind].media_type)
        assert (await ask(kind, wire, [])).result == "先展开"
        assert wire.body.read <= len(b"".join(events(kind))) + 2 * 40_000

    async def test_more_text_than_an_answer_may_have_is_too_large(self, kind):
        text = "先" * (MAX_BYTES // 3)
        answer, _ = await stream(kind, *events(kind, text))
        assert answer.result == text
        assert (await failure(kind, *events(kind, text + "!!"))).error.code is ErrorCode.TOO_LARGE


class TestRequest:
    async def test_a_stream_is_asked_for_with_the_credential_in_the_header_alone(self, kind):
        wire = Wire(*events(kind), content_type=STREAMS[kind].media_type)
        await ask(kind, wire, [])
        (sent,) = wire.sent
        assert orjson.loads(sent.body or b"")["stream"] is True
        assert sent.headers["accept"] == f"{STREAMS[kind].media_type.partition(';')[0]}, application/json"
        defaults = ADAPTERS[kind].defaults
        assert sent.headers[defaults.auth_header.lower()].endswith(CREDENTIAL)
        assert CREDENTIAL.encode() not in (sent.body or b"")

    async def test_an_answer_in_one_piece_is_taken_and_not_told(self, kind):
        body = orjson.dumps(VENDORS[kind].answer(Said("再折叠")))
        answer, told = await stream(kind, body[:9], body[9:], content_type="application/json")
        assert (answer.result, answer.size, told) == ("再折叠", len(body), [])

    async def test_an_answer_in_one_piece_keeps_to_the_cap(self, kind):
        body = orjson.dumps(VENDORS[kind].answer(Said("x" * MAX_BYTES)))
        failed = await failure(kind, body, content_type="application/json")
        assert failed.error.code is ErrorCode.TOO_LARGE


class TestTrouble:
    async def test_a_stream_that_is_cut_off_is_no_answer_wherever_it_is(self, kind):
        body = b"".join(events(kind))
        last = len(events(kind)[-1])
        for end in (0, 1, len(body) // 2, len(body) - last, len(body) - last + 5):
            error = (await failure(kind, body[:end])).error
            assert error.code in {ErrorCode.CONNECT, ErrorCode.INVALID_ANSWER}
        error = (await failure(kind, body[:-last])).error
        assert (error.code, error.cause) == (ErrorCode.CONNECT, Cause.BROKEN_OFF)

    async def test_an_error_in_the_middle_is_the_vendors(self, kind):
        whole = events(kind, LONG)
        whole.insert(len(whole) // 2, STREAMS[kind].broken)
        error = (await failure(kind, *whole)).error
        if kind == "anthropic":  # has a word for it that stands for a status
            assert (error.code, error.status) == (ErrorCode.STATUS, 529)
        else:
            assert (error.code, error.status, error.cause) == (ErrorCode.CONNECT, None, Cause.BROKEN_OFF)

    @pytest.mark.parametrize(
        ("garbage", "code"),
        [
            (b"<html>", ErrorCode.INVALID_ANSWER),
            (b'{"a": NaN}', ErrorCode.INVALID_ANSWER),
            (b'"\xff\xfe"', ErrorCode.INVALID_ANSWER),
            (b'{"type": ', ErrorCode.INVALID_ANSWER),
            (b"7", ErrorCode.INVALID_ANSWER),
            (b"null", ErrorCode.INVALID_ANSWER),
            (b"[]", ErrorCode.INVALID_ANSWER),
            (b"{}", ErrorCode.INVALID_ANSWER),
            (b"[" + b"[]," * 60_000 + b"1]", ErrorCode.TOO_LARGE),
            (b"[" * 5000 + b"]" * 5000, ErrorCode.INVALID_ANSWER),
        ],
    )
    async def test_garbage_is_no_answer(self, kind, garbage, code):
        garbage = garbage + b"\n" if kind == "ollama" else b"data: " + garbage + b"\n\n"
        whole = events(kind, LONG)
        whole.insert(len(whole) // 2, garbage)
        assert (await failure(kind, *whole)).error.code is code

    @pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/octet-stream"])
    async def test_what_calls_itself_something_else_is_not_read(self, kind, content_type):
        error = (await failure(kind, *events(kind), content_type=content_type)).error
        assert (error.code, error.cause) == (ErrorCode.INVALID_ANSWER, Cause.NOT_JSON)

    async def test_a_line_without_end_is_too_large(self, kind):
        start = b'data: "' if kind != "ollama" else b'"'
        error = (await failure(kind, start, *[b"x" * 60_000] * 30)).error
        assert error.code is ErrorCode.TOO_LARGE

    async def test_a_tool_call_after_words_is_none(self, kind):
        error = (await failure(kind, *events(kind, has_tool_call=True))).error
        assert error.code is ErrorCode.INVALID_ANSWER
        assert "asks for a tool" in error.detail
