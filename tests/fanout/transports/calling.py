"""How these tests call an upstream: a transport over loopback, the real caller and the real JSON adapter."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any

from fanfold.fanout.adapters.http_json import HttpJson
from fanfold.fanout.caller import CallOutcome, Terms, UpstreamCaller
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.transports.base import Progress, Transport, UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import CallError, Prompt, Upstream

MAX_BYTES = 2 * 1024 * 1024
LOOPBACK = AddressGuard([ip_network("127.0.0.0/8")])
PUBLIC_ONLY = AddressGuard()


class FixedResolver:
    """Answers every name with the next of the given address lists, the last one for ever. None given: no such name."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002 - the port's shape
        self.asked.append(host)
        if not self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def close(self) -> None:
        self._answers.clear()


async def call(
    transport: Transport,
    url: str,
    *,
    text: str = "三 three",
    timeout_s: float = 20.0,
    max_attempts: int = 1,
    **fields: Any,
) -> CallOutcome:
    """Call `url` with one chunk, through the engine's caller."""
    caller = UpstreamCaller(transport, max_answer_bytes=MAX_BYTES, random=lambda: 0.0)
    terms = Terms(
        upstream=Upstream(kind="http_json", url=url, **fields),
        adapter=HttpJson(),
        timeout_s=timeout_s,
        max_attempts=max_attempts,
        deadline=asyncio.get_running_loop().time() + 30,
    )
    return await caller.call(terms, Prompt(text, 0, 1))


def error_of(outcome: CallOutcome) -> CallError:
    """Return the error of a call that must have failed."""
    assert outcome.answer is None
    assert outcome.error is not None
    return outcome.error


async def send(
    transport: Transport,
    url: str,
    *,
    method: str = "POST",
    body: bytes | None = b'{"text": "hi"}',
    headers: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> UpstreamResponse:
    """Send one request straight through the transport."""
    request = UpstreamRequest(method, url, headers or {"content-type": "application/json"}, body)
    async with asyncio.timeout(30):
        return await transport.send(request, max_bytes=MAX_BYTES, progress=progress or Progress())


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; a time-out fails the test."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)
