"""How the zoo's upstreams stream tokens, and the ways in which a stream goes wrong, in three vendors' formats.

`zoo.url("streams/cut")` is the base of an upstream of kind openai, anthropic or ollama. A good one answers «chunk».
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.token_streams import STREAMS, Spoken, in_pieces
from tests.zoo_books import ZooBooks
from tests.zoo_http import Answer, Closed, Request, accepted, head, refused

_ENDPOINTS = {"/chat/completions": "openai", "/v1/messages": "anthropic", "/api/chat": "ollama"}
_GARBAGE = {
    "openai": b'data: {"choices": [\n\n',
    "anthropic": b"data: <html>\n\n",
    "ollama": b'{"message": \n',
}
_TOKENS = (12, 7)


@dataclass(frozen=True, slots=True)
class Stream:
    """One answer to be streamed. `events` are those of a good one; at least one of each half has text."""

    zoo: ZooBooks
    request: Request
    kind: str

    @property
    def text(self) -> str:
        return f"«{self.request.text}»"

    def events(self, **fields: Any) -> list[bytes]:
        spoken = {"pieces": in_pieces(self.text, 1), "reason": "stop", "tokens": _TOKENS} | fields
        return list(STREAMS[self.kind].events(Spoken(**spoken)))

    async def begin(self, *lines: str) -> None:
        start = head("transfer-encoding: chunked", *lines, content_type=STREAMS[self.kind].media_type)
        await self.zoo.write(self.request, start, served=False)

    async def send(self, events: Sequence[bytes], *, pause_s: float = 0.0, served: bool = False) -> None:
        """Send events, one chunk each; the last one is what makes an answer."""
        for number, event in enumerate(events, start=1):
            is_last = served and number == len(events)
            await self.zoo.write(self.request, b"%x\r\n%s\r\n" % (len(event), event), served=is_last)
            await asyncio.sleep(pause_s)

    async def end(self) -> None:
        self.request.writer.write(b"0\r\n\r\n")
        await self.request.writer.drain()

    async def wait_for_the_client_to_go(self) -> None:
        await self.request.reader.read()
        raise Closed

    def whole(self) -> Answer:
        return accepted(_WHOLE[self.kind](self.text))


def _openai(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = dict(zip(("prompt_tokens", "completion_tokens"), _TOKENS, strict=True))
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


def _anthropic(text: str) -> dict[str, Any]:
    usage = dict(zip(("input_tokens", "output_tokens"), _TOKENS, strict=True))
    return {
        "type": "message",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": usage,
    }


def _ollama(text: str) -> dict[str, Any]:
    counts = dict(zip(("prompt_eval_count", "eval_count"), _TOKENS, strict=True))
    return {"message": {"role": "assistant", "content": text}, "done": True, "done_reason": "stop"} | counts


_WHOLE: dict[str, Callable[[str], dict[str, Any]]] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "ollama": _ollama,
}


async def _good(stream: Stream) -> None:
    """Stream well, `ms` between the events."""
    await stream.begin()
    await stream.send(stream.events(), pause_s=stream.request.number("ms", 0) / 1000, served=True)
    await stream.end()


async def _at_once(stream: Stream) -> None:
    """Stream well, all events in one chunk."""
    await stream.begin()
    await stream.send([b"".join(stream.events())], served=True)
    await stream.end()


async def _split(stream: Stream) -> None:
    """Stream well, in chunks of one byte: characters, lines and numbers are cut."""
    await stream.begin()
    body = b"".join(stream.events())
    await stream.send([body[place : place + 1] for place in range(len(body))], served=True)
    await stream.end()


async def _uncounted(stream: Stream) -> None:
    """Stream well, and count no tokens."""
    await stream.begin()
    await stream.send(stream.events(tokens=None), served=True)
    await stream.end()


async def _lingering(stream: Stream) -> None:
    """Stream well, and leave the connection open behind the last event."""
    await stream.begin()
    await stream.send(stream.events(), served=True)
    await stream.wait_for_the_client_to_go()


async def _flaky(stream: Stream) -> None:
    """Say first that it went wrong, the first `fail` times a chunk is asked for."""
    if stream.zoo.times_seen(stream.request) > stream.request.number("fail", 1):
        await _good(stream)
        return
    await stream.begin()
    await stream.send([STREAMS[stream.kind].broken])
    await stream.end()


async def _cut(stream: Stream) -> None:
    """Lose the connection in the middle."""
    await stream.begin()
    await stream.send(_begun(stream))
    raise Closed


async def _ended(stream: Stream) -> None:
    """End well as HTTP goes, without the last event."""
    await stream.begin()
    await stream.send(stream.events()[:-1])
    await stream.end()


async def _error(stream: Stream) -> None:
    """Say in the middle that something went wrong."""
    await stream.begin()
    await stream.send([*_begun(stream), STREAMS[stream.kind].broken])
    await stream.end()


async def _garbage(stream: Stream) -> None:
    await stream.begin()
    await stream.send([*_begun(stream), _GARBAGE[stream.kind], *stream.events()])
    await stream.end()


async def _silent(stream: Stream) -> None:
    """Say nothing more from the middle on."""
    await stream.begin()
    await stream.send(_begun(stream))
    await stream.wait_for_the_client_to_go()


async def _mute(stream: Stream) -> None:
    """Say nothing at all once the head is there."""
    await stream.begin()
    await stream.wait_for_the_client_to_go()


async def _endless(stream: Stream) -> None:
    """Never stop speaking; nothing but keepalives with `quiet`."""
    await stream.begin()
    begun = _begun(stream)
    more = [STREAMS[stream.kind].filler] if "quiet" in stream.request.query else [_saying(stream, "x" * 4096)]
    await stream.send(begun)
    while True:
        await stream.send(more * 16, pause_s=stream.request.number("ms", 0) / 1000)


async def _endless_line(stream: Stream) -> None:
    """Never end a line."""
    await stream.begin()
    await stream.send([*_begun(stream), b"data: "])
    while True:
        await stream.send([b"x" * 65_536])


async def _tool(stream: Stream) -> None:
    """Ask for a tool after some words."""
    await stream.begin()
    await stream.send(stream.events(has_tool_call=True))
    await stream.end()


async def _compressed(stream: Stream) -> None:
    """Claim to be compressed, which nobody asked for."""
    await stream.begin("content-encoding: gzip")
    await stream.send(stream.events())
    await stream.end()


async def _ignoring(stream: Stream) -> Answer:
    """Answer JSON in one piece."""
    return stream.whole()


async def _page(_stream: Stream) -> Answer:
    return Answer(b"<html>Sign in</html>", content_type="text/html")


async def _busy(_stream: Stream) -> Answer:
    return refused(503)


def _begun(stream: Stream) -> list[bytes]:
    """Return the first half of a good stream, in which there is text."""
    events = stream.events()
    return events[: len(events) // 2 + 1]


def _saying(stream: Stream, text: str) -> bytes:
    """Return the event that says a text."""
    return next(event for event in stream.events(pieces=(text,)) if text.encode() in event)


Behave = Callable[[Stream], Awaitable[Answer | None]]
STREAMED: dict[str, Behave] = {
    "good": _good,
    "at-once": _at_once,
    "split": _split,
    "uncounted": _uncounted,
    "lingering": _lingering,
    "flaky": _flaky,
    "ignoring": _ignoring,
    "cut": _cut,
    "ended": _ended,
    "error": _error,
    "garbage": _garbage,
    "silent": _silent,
    "mute": _mute,
    "endless": _endless,
    "endless-line": _endless_line,
    "tool": _tool,
    "compressed": _compressed,
    "page": _page,
    "busy": _busy,
}
NEVER_WHOLE = frozenset({"page", "busy"})


def streaming(path: str) -> Callable[[ZooBooks, Request], Awaitable[Answer | None]] | None:
    """Return the behaviour of a path below `streams/`; who asks it for no stream gets an answer in one piece."""
    kind = next((kind for end, kind in _ENDPOINTS.items() if f"/{path}".endswith(end)), None)
    parts = path.split("/")
    if kind is None or parts[0] != "streams" or parts[1] not in STREAMED:
        return None
    name = parts[1]

    async def behave(zoo: ZooBooks, request: Request) -> Answer | None:
        stream = Stream(zoo, request, kind)
        if request.document.get("stream") or name in NEVER_WHOLE:
            return await STREAMED[name](stream)
        return stream.whole()

    return behave
