"""How the zoo's upstreams behave: one that answers well, and every way in which one can fail to."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from tests.zoo_books import ZooBooks
from tests.zoo_http import (
    Answer,
    Closed,
    Request,
    accepted,
    chat_completion,
    compressed_zeros,
    head,
    no_constant,
    refused,
    reset,
)

_HUGE = 3 * 1024 * 1024

# Behaviours. Each gets the zoo and the request and returns an answer; or writes by itself, and then returns `WRITTEN`
# (the connection goes on) or raises `Closed`.
WRITTEN = None


async def _ok(_zoo: ZooBooks, request: Request) -> Answer:
    """Echo the chunk; `bytes` pads the answer to that size."""
    answer = accepted({"echo": request.text})
    missing = int(request.number("bytes", 0)) - len(answer.body) - len(', "pad": ""')
    return accepted({"echo": request.text, "pad": "x" * missing}) if missing > 0 else answer


async def _slow(zoo: ZooBooks, request: Request) -> Answer:
    """Answer after `ms`, or when the zoo is mended."""
    await zoo.pause(request, 200)
    return await _ok(zoo, request)


async def _held(zoo: ZooBooks, request: Request) -> Answer:
    """Answer well, once the zoo lets go."""
    await zoo.lets_go.wait()
    return await _ok(zoo, request)


async def _hang(_zoo: ZooBooks, request: Request) -> Answer:
    await request.reader.read()
    raise Closed


async def _drip(zoo: ZooBooks, request: Request) -> Answer | None:
    """Write one byte of a good answer every `ms`."""
    data = (await _ok(zoo, request)).encoded()
    start, _, body = data.partition(b"\r\n\r\n")
    await zoo.write(request, start + b"\r\n\r\n", served=False)
    for byte in body[:-1]:
        await zoo.write(request, bytes([byte]), served=False)
        await asyncio.sleep(request.number("ms", 100) / 1000)
    await zoo.write(request, body[-1:], served=True)
    return WRITTEN


async def _chunked(zoo: ZooBooks, request: Request) -> Answer | None:
    """Answer with chunked transfer coding, in two chunks."""
    body = (await _ok(zoo, request)).body
    pieces = (body[:5], body[5:], b"")
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    await zoo.write(request, head("transfer-encoding: chunked") + framed, served=True)
    return WRITTEN


async def _429(zoo: ZooBooks, request: Request) -> Answer:
    """Refuse with Retry-After (`after` seconds) until the chunk is asked for the `succeed`-th time."""
    if zoo.times_seen(request) >= request.number("succeed", float("inf")):
        return await _ok(zoo, request)
    return refused(429, **{"retry-after": request.query.get("after", "0")})


async def _status(zoo: ZooBooks, request: Request) -> Answer:
    """Refuse with the status `code`, after `ms`, and with Retry-After where `after` is given."""
    await zoo.pause(request)
    after = {"retry-after": request.query["after"]} if "after" in request.query else {}
    return refused(int(request.number("code", 500)), **after)


async def _flaky(zoo: ZooBooks, request: Request) -> Answer:
    """Fail the first `fail` times a chunk is asked for, with 503."""
    failing = zoo.times_seen(request) <= request.number("fail", 1)
    return refused(503) if failing else await _ok(zoo, request)


async def _down(zoo: ZooBooks, request: Request) -> Answer:
    """Refuse with 503 for `seconds`, or until the zoo is mended; then answer."""
    for_s = request.number("seconds", 0.0 if zoo.is_mended else float("inf"))
    return refused(503) if zoo.asked_for(request) < for_s else await _ok(zoo, request)


async def _flapping(zoo: ZooBooks, request: Request) -> Answer:
    """Refuse `bad` requests for a chunk with 503, answer `good` of them, and so on."""
    bad, good = request.number("bad", 5), request.number("good", 5)
    return refused(503) if (zoo.times_seen(request) - 1) % (bad + good) < bad else await _ok(zoo, request)


async def _faults(zoo: ZooBooks, request: Request) -> Answer | None:
    """Fail `percent` of all requests in some way, after `ms`; answer the others."""
    await asyncio.sleep(request.number("ms", 0) / 1000)
    if zoo.chance() * 100 >= request.number("percent", 30):
        return await _ok(zoo, request)
    return await BEHAVIOURS[zoo.choice(("500", "503", "429", "garbage", "cut", "reset"))](zoo, request)


async def _garbage(_zoo: ZooBooks, _request: Request) -> Answer:
    return Answer(b'{"echo": "half')


async def _noise(zoo: ZooBooks, request: Request) -> Answer:
    """Speak something that is not HTTP."""
    await zoo.write(request, b"220 mail.example ESMTP\r\n\x00\xff\r\n\r\n", served=False)
    raise Closed


async def _wrong_type(_zoo: ZooBooks, _request: Request) -> Answer:
    return Answer(b"<html>Sign in</html>", content_type="text/html")


async def _huge(zoo: ZooBooks, request: Request) -> Answer | None:
    """Answer 3 MiB; with `chunked` without saying so before."""
    body = b'"' + b"x" * _HUGE + b'"'
    if "chunked" not in request.query:
        return Answer(body)
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    await zoo.write(request, head("transfer-encoding: chunked") + framed, served=False)
    return WRITTEN


async def _cut(zoo: ZooBooks, request: Request) -> Answer:
    """Close in the middle of the body."""
    await zoo.write(request, (await _ok(zoo, request)).encoded()[:-4], served=False)
    raise Closed


async def _reset(_zoo: ZooBooks, request: Request) -> Answer:
    """Reset the connection (RST) instead of answering."""
    reset(request.writer)
    raise Closed


async def _bomb(_zoo: ZooBooks, _request: Request) -> Answer:
    """Answer 16 MiB as 70 KiB of gzip that nobody asked for."""
    return Answer(compressed_zeros(), headers={"content-encoding": "gzip"})


async def _redirect(zoo: ZooBooks, request: Request) -> Answer:
    """Redirect to `to` with the status `code`; whoever follows to the default is counted there."""
    target = request.query.get("to", zoo.url("ok"))
    return Answer(status=int(request.number("code", 302)), headers={"location": target})


async def _204(_zoo: ZooBooks, _request: Request) -> Answer:
    return Answer(status=204)


async def _long(zoo: ZooBooks, request: Request) -> Answer:
    """Promise more than is sent, then close."""
    body = (await _ok(zoo, request)).body
    await zoo.write(request, head(f"content-length: {len(body) + 100}") + body, served=False)
    raise Closed


async def _short(zoo: ZooBooks, request: Request) -> Answer:
    """Send more than was promised."""
    body = (await _ok(zoo, request)).body
    await zoo.write(request, head(f"content-length: {len(body) - 3}") + body, served=False)
    raise Closed


async def _json(_zoo: ZooBooks, request: Request) -> Answer:
    """Answer `value` as it is; it counts as served if it is JSON."""
    value = request.query.get("value", "null")
    try:
        json.loads(value, parse_constant=no_constant)
    except ValueError:
        return Answer(value.encode())
    return Answer(value.encode(), served=True)


async def _headers(_zoo: ZooBooks, request: Request) -> Answer:
    """Answer what was asked, and try to set a cookie."""
    return accepted(
        {"method": request.method, "headers": dict(request.headers)}, **{"set-cookie": "a=b; Path=/"}
    )


async def _close(zoo: ZooBooks, request: Request) -> Answer:
    """Answer well, and close the connection after it."""
    body = (await _ok(zoo, request)).body
    await zoo.write(request, head(f"content-length: {len(body)}", "connection: close") + body, served=True)
    raise Closed


async def _leave(zoo: ZooBooks, request: Request) -> Answer:
    """Answer well, and close the connection after it without having said so."""
    await zoo.write(request, (await _ok(zoo, request)).encoded(), served=True)
    raise Closed


async def _chat(_zoo: ZooBooks, request: Request) -> Answer:
    """Answer as an OpenAI-compatible server does; a token is a word here."""
    return accepted(chat_completion(request))


def _with(code: int) -> "Behaviour":
    async def behave(_zoo: ZooBooks, _request: Request) -> Answer:
        return refused(code)

    return behave


Behaviour = Callable[[ZooBooks, Request], Awaitable[Answer | None]]
BEHAVIOURS: dict[str, Behaviour] = {
    "ok": _ok,
    "slow": _slow,
    "held": _held,
    "hang": _hang,
    "drip": _drip,
    "chunked": _chunked,
    "429": _429,
    "500": _with(500),
    "503": _with(503),
    "status": _status,
    "flaky": _flaky,
    "down": _down,
    "flapping": _flapping,
    "faults": _faults,
    "garbage": _garbage,
    "noise": _noise,
    "wrong-type": _wrong_type,
    "huge": _huge,
    "cut": _cut,
    "reset": _reset,
    "bomb": _bomb,
    "redirect": _redirect,
    "204": _204,
    "long": _long,
    "short": _short,
    "json": _json,
    "headers": _headers,
    "close": _close,
    "leave": _leave,
    "v1/chat/completions": _chat,
}
