"""What a client gets is what it gets of uvicorn's own protocol, to the byte; a plain answer comes in one piece."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fanfold.cli.serve import uvicorn_options
from fanfold.core.config import Settings
from fanfold.core.health import LivenessMiddleware
from fanfold.core.http_protocol import HttpProtocol
from fanfold.core.security_headers import SecurityHeadersMiddleware
from fanfold.core.telemetry.metrics import Metrics
from fanfold.core.telemetry.middleware import TelemetryMiddleware

GET = b"GET / HTTP/1.1\r\nHost: fanfold.test\r\n\r\n"
HEADS = {
    "plain": GET,
    "head": GET.replace(b"GET", b"HEAD"),
    "last of its connection": GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "old": GET.replace(b"1.1", b"1.0"),
    "two at once": GET + GET,
    "to be continued": GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
}
LENGTH = (b"content-length", b"5")
Parts = list[dict[str, Any]]


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


ANSWERS: dict[str, Parts] = {
    "whole": [start(LENGTH, (b"content-type", b"text/plain")), body(b"hello")],
    "in parts": [start(LENGTH), body(b"he", more=True), body(b"llo")],
    "without a length": [start((b"content-type", b"text/plain")), body(b"he", more=True), body(b"llo")],
    "too long": [start(LENGTH), body(b"hello!")],
    "too short": [start(LENGTH), body(b"hell")],
    "two lengths": [start(LENGTH, (b"content-length", b"4")), body(b"hello")],
    "two lengths, the other first": [start((b"content-length", b"4"), LENGTH), body(b"hello")],
    "a header of its own": [start(LENGTH, (b"X-Own", b"1")), body(b"hello")],
    "the last one": [start(LENGTH, (b"connection", b"close")), body(b"hello")],
    "framed otherwise": [start(LENGTH, (b"transfer-encoding", b"chunked")), body(b"hello")],
    "a value that ends its line": [start(LENGTH, (b"location", b"/\r\nx-evil: 1")), body(b"hello")],
    "a value that ends": [start(LENGTH, (b"location", b"/\n")), body(b"hello")],
    "a value with a NUL": [start(LENGTH, (b"location", b"\0")), body(b"hello")],
    "a value with a tab and UTF-8": [start(LENGTH, (b"location", "\t路".encode())), body(b"hello")],
    "nothing at all": [start(status=204), body(b"")],
    "an error": [start((b"content-length", b"0"), status=404), {"type": "http.response.body"}],
    "no answer": [],
    "no headers": [{"type": "http.response.start", "status": 200}, body(b"hello")],
    "in parts, the last of them empty": [start(LENGTH), body(b"hello", more=True), body(b"")],
    "begun, and begun anew": [start(), start(LENGTH), body(b"hello")],
    "started twice": [start(LENGTH), start(LENGTH), body(b"hello")],
    "more than an answer": [start(LENGTH), body(b"hello"), body(b"hello")],
}  # fmt: skip


class Wire(asyncio.Transport):
    """Keeps what is written, by call."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_over = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written.append(b"".join(list_of_data))

    def close(self) -> None:
        self.is_over = True

    def is_closing(self) -> bool:
        return self.is_over

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 8000) if name.endswith("name") else default

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def connected(kind: type[HttpToolsProtocol], app: Any) -> tuple[HttpToolsProtocol, Wire]:
    config = Config(app, interface="asgi3", log_config=None, access_log=False, lifespan="off")
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Sun, 22 Nov 2026 20:35:45 GMT")]
    protocol, wire = kind(config=config, server_state=state, app_state={}), Wire()
    protocol.connection_made(wire)
    return protocol, wire


async def asked(kind: type[HttpToolsProtocol], app: Any, sent: bytes) -> Wire:
    protocol, wire = connected(kind, app)
    protocol.data_received(sent)
    for _ in range(10):
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire


def answering(parts: Parts, *, reads: bool = True) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        if reads:
            await receive()
        for part in parts:
            await send(part)
        if not reads:
            await receive()

    return app


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("sent", HEADS)
async def test_the_bytes_are_those_of_uvicorn_and_so_are_its_complaints(
    sent: str, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    for reads in (True, False):
        caplog.clear()
        theirs = await asked(HttpToolsProtocol, answering(ANSWERS[answer], reads=reads), HEADS[sent])
        complaints = caplog.messages[:]
        caplog.clear()
        ours = await asked(HttpProtocol, answering(ANSWERS[answer], reads=reads), HEADS[sent])
        assert b"".join(ours.written) == b"".join(theirs.written)
        assert (ours.is_over, caplog.messages) == (theirs.is_over, complaints)


async def test_a_plain_answer_is_written_in_one_piece_with_all_that_the_product_adds() -> None:
    app = SecurityHeadersMiddleware(
        TelemetryMiddleware(LivenessMiddleware(answering([])), metrics=Metrics(shared=False)), https=True
    )
    wire = await asked(HttpProtocol, app, GET.replace(b"/ ", b"/healthz "))
    (whole,) = wire.written
    assert whole.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert whole.endswith(b'\r\n\r\n{"status":"ok"}')
    assert b"\r\nstrict-transport-security: " in whole


async def test_a_stream_begins_before_there_is_anything_of_it() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start((b"content-type", b"text/event-stream")))
        await asyncio.Event().wait()

    protocol, wire = connected(HttpProtocol, app)
    protocol.data_received(GET)
    await asyncio.sleep(0)
    assert wire.written[0].startswith(b"HTTP/1.1 200 OK\r\n")
    for task in protocol.tasks:
        task.cancel()
    await asyncio.gather(*protocol.tasks, return_exceptions=True)


async def test_who_has_left_is_sent_nothing() -> None:
    left = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start(LENGTH))
        await left.wait()
        await send(body(b"hello"))

    protocol, wire = connected(HttpProtocol, app)
    protocol.data_received(GET)
    await asyncio.sleep(0)
    protocol.connection_lost(None)
    left.set()
    await asyncio.gather(*protocol.tasks)
    assert wire.written == []


async def test_a_client_that_does_not_read_is_waited_for() -> None:
    protocol, wire = connected(HttpProtocol, answering(ANSWERS["whole"]))
    protocol.pause_writing()
    protocol.data_received(GET)
    await asyncio.sleep(0.01)
    assert wire.written == []
    protocol.resume_writing()
    await asyncio.gather(*protocol.tasks)
    assert b"".join(wire.written).endswith(b"hello")


async def test_an_answer_that_fails_before_its_body_is_an_error() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start(LENGTH))
        raise ZeroDivisionError

    wire = await asked(HttpProtocol, app, GET)
    assert b"".join(wire.written).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert wire.is_over


async def test_who_listens_after_the_answer_hears_that_it_is_over() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listening = asyncio.create_task(receive())
        await asyncio.sleep(0)
        for part in ANSWERS["whole"]:
            await send(part)
        async with asyncio.timeout(20):
            assert (await listening)["type"] == "http.disconnect"

    protocol, wire = connected(HttpProtocol, app)
    protocol.data_received(GET)
    await asyncio.gather(*protocol.tasks)
    assert not wire.is_over


def test_serve_uses_it() -> None:
    assert Config("fanfold.main:app", **uvicorn_options(Settings(), 1)).http is HttpProtocol
