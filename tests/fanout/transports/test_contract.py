"""What every transport promises, proved against the zoo: one behaviour, one code, nothing left open."""

import asyncio
import socket
from typing import Any

import pytest

from fanfold.fanout.errors import CallFailed, Phase, UnknownKind
from fanfold.fanout.transports.base import Progress
from fanfold.fanout.transports.registry import transport
from fanfold.fanout.types import Cause, ErrorCode
from tests.fanout.transports.calling import (
    LOOPBACK,
    MAX_BYTES,
    FixedResolver,
    call,
    error_of,
    eventually,
    send,
)

SERVED: dict[str, dict[str, Any]] = {
    "ok": {},
    "slow": {"ms": 20},
    "chunked": {},
    "close": {},
    "flaky": {"fail": 0},
    "429": {"succeed": 1},
    "json": {"value": '["名前", 1]'},
    "headers": {},
}
FAILED: list[tuple[str, dict[str, Any], ErrorCode, int | None]] = [
    ("hang", {}, ErrorCode.TIMEOUT, None),
    ("drip", {"ms": 50, "bytes": 1000}, ErrorCode.TIMEOUT, None),
    ("429", {}, ErrorCode.STATUS, 429),
    ("500", {}, ErrorCode.STATUS, 500),
    ("status", {"code": 404}, ErrorCode.STATUS, 404),
    ("redirect", {}, ErrorCode.STATUS, 302),
    ("status", {"code": 304}, ErrorCode.STATUS, 304),
    ("garbage", {}, ErrorCode.INVALID_ANSWER, None),
    ("noise", {}, ErrorCode.INVALID_ANSWER, None),
    ("wrong-type", {}, ErrorCode.INVALID_ANSWER, None),
    ("204", {}, ErrorCode.INVALID_ANSWER, 204),
    ("bomb", {}, ErrorCode.INVALID_ANSWER, 200),
    ("short", {}, ErrorCode.INVALID_ANSWER, None),
    ("json", {"value": "NaN"}, ErrorCode.INVALID_ANSWER, None),
    ("huge", {}, ErrorCode.TOO_LARGE, None),
    ("huge", {"chunked": 1}, ErrorCode.TOO_LARGE, None),
    ("cut", {}, ErrorCode.CONNECT, None),
    ("long", {}, ErrorCode.CONNECT, None),
    ("reset", {}, ErrorCode.CONNECT, None),
]


class TestBehaviours:
    @pytest.mark.parametrize("path", sorted(SERVED))
    async def test_a_good_answer_is_accepted_and_counted_once(self, make, zoo, path):
        outcome = await call(make(), zoo.url(path, tag="t", **SERVED[path]), timeout_s=10)
        assert outcome.error is None
        assert outcome.attempts == 1
        assert zoo.served_by_tag["t"] == 1

    @pytest.mark.parametrize(("path", "query", "code", "status"), FAILED)
    async def test_a_bad_answer_has_the_contracts_code(self, make, zoo, path, query, code, status):
        made = make()
        endless = path in {"hang", "drip"}
        outcome = await call(made, zoo.url(path, **query), timeout_s=0.6 if endless else 20)
        error = error_of(outcome)
        assert error.code is code
        assert status is None or error.status == status
        assert zoo.served.total() == 0
        await eventually(lambda: made.connections == 0)

    @pytest.mark.parametrize(
        ("path", "cause"),
        [
            ("cut", Cause.BROKEN_OFF), ("noise", Cause.NOT_HTTP), ("bomb", Cause.COMPRESSED),
            ("garbage", Cause.NOT_JSON), ("wrong-type", Cause.NOT_JSON), ("500", None),
        ],
    )  # fmt: skip
    async def test_what_lies_behind_it_is_told_to_who_asks(self, make, zoo, path, cause):
        assert error_of(await call(make(), zoo.url(path))).cause is cause

    async def test_text_of_any_script_comes_back_as_it_went(self, make, zoo):
        text = "你好，世界 — こんにちは — مرحبا — 👩‍👩‍👧‍👦"
        outcome = await call(make(), zoo.url("ok"), text=text)
        assert outcome.answer is not None
        assert outcome.answer.result == {"echo": text}
        outcome = await call(make(), zoo.url("ok"), text=text, method="GET")
        assert outcome.answer is not None
        assert outcome.answer.result == {"echo": text}

    async def test_an_answer_of_exactly_the_cap_passes_and_one_byte_more_does_not(self, make, zoo):
        made = make()
        fits = await call(made, zoo.url("ok", bytes=MAX_BYTES))
        over = await call(made, zoo.url("ok", bytes=MAX_BYTES + 1))
        assert fits.error is None
        assert error_of(over).code is ErrorCode.TOO_LARGE

    async def test_a_body_of_megabytes_is_sent_whole(self, make, zoo):
        text = "𠮷" * 500_000
        outcome = await call(make(), zoo.url("slow", ms=1), text=text, timeout_s=20)
        # Two million bytes of UTF-8 and a few of JSON come back, just over the cap.
        assert outcome.error is None or outcome.error.code is ErrorCode.TOO_LARGE
        assert (await send(make(), zoo.url("headers"), body=b"x" * 3_000_000)).status == 200

    async def test_failures_are_repeated_and_then_accepted(self, make, zoo):
        outcome = await call(make(), zoo.url("flaky", fail=2), max_attempts=3)
        assert (outcome.error, outcome.attempts) == (None, 3)
        assert zoo.served.total() == 1


class TestPhase:
    async def test_nothing_is_sent_to_a_closed_port(self, make):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
            with pytest.raises(CallFailed) as failed:
                await send(make(), url)
        assert (failed.value.error.code, failed.value.phase) == (ErrorCode.CONNECT, Phase.NOTHING_SENT)
        assert failed.value.error.cause is Cause.CONNECTION

    async def test_nothing_is_sent_where_a_name_has_no_address(self, make):
        with pytest.raises(CallFailed) as failed:
            await send(make(resolver=FixedResolver()), "http://nowhere.test/")
        assert (failed.value.error.code, failed.value.phase) == (ErrorCode.CONNECT, Phase.NOTHING_SENT)
        assert failed.value.error.cause is Cause.NAME

    @pytest.mark.parametrize(
        ("path", "phase"), [("reset", Phase.MAYBE_SENT), ("noise", Phase.MAYBE_SENT), ("cut", Phase.ANSWERED)]
    )
    @pytest.mark.parametrize("warm", [False, True])
    async def test_a_lost_connection_tells_how_far_it_came(self, make, zoo, path, phase, warm):
        made = make()
        if warm:
            await send(made, zoo.url("ok"))
        with pytest.raises(CallFailed) as failed:
            await send(made, zoo.url(path))
        assert failed.value.phase is phase

    @pytest.mark.parametrize(("path", "phase"), [("hang", Phase.MAYBE_SENT), ("drip", Phase.ANSWERED)])
    async def test_progress_is_known_when_cut_off_from_outside(self, make, zoo, path, phase):
        progress = Progress()
        sending = asyncio.create_task(send(make(), zoo.url(path, bytes=1000), progress=progress))
        await eventually(lambda: progress.phase is phase)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert progress.phase is phase

    async def test_waiting_for_a_connection_sends_nothing(self, make, zoo):
        made = make(max_connections=1)
        progress = Progress()
        async with asyncio.TaskGroup() as group:
            holding = group.create_task(send(made, zoo.url("hang")))
            await eventually(lambda: zoo.requests["hang"] == 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await send(made, zoo.url("ok"), progress=progress)
            holding.cancel()
        assert progress.phase is Phase.NOTHING_SENT
        assert zoo.requests["ok"] == 0

    @pytest.mark.parametrize("path", ["reset", "cut"])
    async def test_a_get_is_not_repeated_by_the_client_library(self, make, zoo, path):
        made = make()
        await send(made, zoo.url("ok"))
        with pytest.raises(CallFailed):
            await send(made, zoo.url(path), method="GET", body=None)
        assert zoo.requests[path] == 1


class TestConnections:
    @pytest.mark.parametrize("path", ["ok", "500", "429", "redirect", "204", "chunked"])
    async def test_one_connection_serves_one_request_after_another(self, make, zoo, path):
        made = make()
        for _ in range(5):
            await send(made, zoo.url(path))
        assert zoo.connections == 1

    async def test_no_more_are_in_use_than_allowed(self, make, zoo):
        made = make(max_connections=3)
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(send(made, zoo.url("slow", ms=5)))
        assert zoo.connections <= 3
        assert zoo.served["slow"] == 30

    async def test_closing_leaves_nothing_open(self, kind, zoo):
        made = transport(kind, guard=LOOPBACK, max_connections=20)
        async with asyncio.TaskGroup() as group:
            for path in ("ok", "500", "garbage", "huge", "bomb", "redirect", "slow") * 3:
                group.create_task(call(made, zoo.url(path)))
        await made.aclose()
        await eventually(lambda: zoo.open == 0)

    @pytest.mark.parametrize("path", ["close", "leave"])
    async def test_a_kept_connection_that_the_upstream_closed_is_not_used(self, make, zoo, path):
        made = make()
        for _ in range(5):
            assert (await call(made, zoo.url(path))).error is None
            await eventually(lambda: zoo.open == 0)
            await asyncio.sleep(0.05)  # the news must reach the client too
        assert (await call(made, zoo.url("ok"))).error is None


class TestRequest:
    async def test_identity_is_asked_for_whatever_the_upstreams_headers_say(self, make, zoo):
        response = await send(
            make(), zoo.url("headers"), headers={"accept-encoding": "gzip, br", "x-key": "1"}
        )
        assert b'"accept-encoding": "identity"' in response.body
        assert b'"x-key": "1"' in response.body

    async def test_an_encoding_that_was_not_asked_for_is_refused_before_it_is_read(self, make, zoo):
        with pytest.raises(CallFailed, match="compressed") as failed:
            await send(make(), zoo.url("bomb"))
        assert failed.value.error.code is ErrorCode.INVALID_ANSWER

    async def test_cookies_are_not_kept(self, make, zoo):
        made = make()
        for _ in range(3):
            assert b"cookie" not in (await send(made, zoo.url("headers"))).body

    async def test_framing_and_host_are_never_the_tenants(self, make, zoo):
        made = make()
        hostile = {
            "Content-Length": "3",
            "Transfer-Encoding": "chunked",
            "Host": "other.example",
            "Connection": "upgrade",
            "Expect": "100-continue",
        }
        smuggled = b'{"text": "a"}GET /json?value=2 HTTP/1.1\r\nhost: x\r\n\r\n'
        first = await send(made, zoo.url("headers"), headers=hostile, body=smuggled)
        second = await send(made, zoo.url("json", value=1))
        assert b"other.example" not in first.body
        assert b'"content-length": "%d"' % len(smuggled) in first.body
        assert second.body == b"1"
        assert zoo.requests.total() == 2


class TestUnusual:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "http://",
            "http:///path",
            "//127.0.0.1/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "http://127.0.0.1:99999/",
            "http://[::1/",
            "http://exa mple.test/",
            "http://\ud800.test/",
            "http://xn--\u00fc.test/",
            "http://" + "a" * 300 + ".test/",
            "http://a..test/",
        ],
    )
    async def test_a_url_that_cannot_be_dialled_fails_like_any_call(self, make, url):
        with pytest.raises(CallFailed) as failed:
            await send(make(), url)
        assert failed.value.phase is Phase.NOTHING_SENT
        assert failed.value.error.code in {ErrorCode.FORBIDDEN_ADDRESS, ErrorCode.CONNECT}

    @pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x\n": "1"}, {"x": "\ud800"}, {"": "1"}])
    async def test_a_header_that_cannot_be_sent_fails_like_any_call(self, make, zoo, headers):
        made = make()
        with pytest.raises(CallFailed):
            await send(made, zoo.url("ok"), headers=headers)
        assert zoo.requests.total() == 0
        assert (await call(made, zoo.url("ok"))).error is None

    def test_an_unknown_kind_lists_the_known(self):
        with pytest.raises(UnknownKind, match="aiohttp, httptools, httpx"):
            transport("carrier-pigeon", guard=LOOPBACK, max_connections=1)
