"""The mock upstream in Python: a bare protocol on uvloop, with delays. Answers are those of the nginx one.

python -m benchmarks.comparison.mock PORT

/instant at once · /after/MS after so many milliseconds · /v1/chat/completions as an AI API answers
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

RESULT = '{"ok":true,"result":"mock result for this chunk","tokens":42}'
CHAT = (
    '{"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":"mock","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Hello, this is a mock answer of the upstream."},'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":10,"total_tokens":22}}'
)
BACKLOG = 8192
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_AFTER = re.compile(rb"/after/(\d+)")


def _encoded(status: bytes, body: str) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body.encode()


OK, CHATTED, MISSING = (
    _encoded(b"200 OK", RESULT),
    _encoded(b"200 OK", CHAT),
    _encoded(b"404 Not Found", "{}"),
)


class Answering(asyncio.Protocol):
    """One connection: requests one after the other, each with a length or without a body."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the protocol's signature)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._answer_next()

    def _answer_next(self) -> None:
        while not self._is_waiting and (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end]
            length = _LENGTH.search(head)
            end += 4 + (int(length[1]) if length else 0)
            if len(self._unread) < end:
                return
            self._unread = self._unread[end:]
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        if path == b"/instant":
            self._write(OK)
        elif path == b"/v1/chat/completions":
            self._write(CHATTED)
        elif after := _AFTER.fullmatch(path):
            self._is_waiting = True
            self._loop.call_later(int(after[1]) / 1000, self._write_late, OK)
        else:
            self._write(MISSING)

    def _write_late(self, answer: bytes) -> None:
        self._is_waiting = False
        self._write(answer)
        self._answer_next()

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def main(port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
