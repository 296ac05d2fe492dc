"""The receiver zoo: the upstream zoo as a receiver of webhooks, which keeps what it was sent and verifies it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standardwebhooks.webhooks import Webhook as Reference
from standardwebhooks.webhooks import WebhookVerificationError

from tests.zoo import Zoo
from tests.zoo_behaviours import BEHAVIOURS, WRITTEN, Behaviour
from tests.zoo_books import ZooBooks
from tests.zoo_http import Answer, Closed, Request, refused


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    path: str
    tag: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Return the event, verified by the reference library; raises where it does not hold."""
        return Reference(secret).verify(self.body, dict(self.headers))


class Receiver(Zoo):
    """`received` is what came, in order; `secrets` (by tag) verify it as it comes, and `forged` counts what is not."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.received: list[Received] = []
        self.secrets: dict[str, str] = {}
        self.forged = 0

    def of(self, tag: str) -> list[Received]:
        return [each for each in self.received if each.tag == tag]

    def times(self, tag: str) -> Counter[str]:
        """How often each event came, by its id."""
        return Counter(each.event_id for each in self.of(tag))

    def times_seen(self, request: Request) -> int:
        key = (request.path, request.query.get("tag", ""), request.headers.get("webhook-id", ""))
        self._seen[key] += 1
        return self._seen[key]

    async def _exchange(self, request: Request) -> None:
        name, tag = request.path.strip("/"), request.query.get("tag", "")
        came = Received(name, tag, request.headers, request.body)
        self.received.append(came)
        self.requests[name] += 1
        if tag in self.secrets:
            try:
                came.verified(self.secrets[tag])
            except WebhookVerificationError:
                self.forged += 1
        behave = MORE.get(name) or BEHAVIOURS.get(name)
        with self.at_once(tag):
            answer = await behave(self, request) if behave else refused(404)
        if answer is not None:
            await self.write(request, answer.encoded(), served=answer.served)


async def _created(_zoo: ZooBooks, _request: Request) -> Answer:
    """Answer 201 with 200 KB."""
    return Answer(b"x" * 200_000, status=201, served=True)


async def _half_a_head(_zoo: ZooBooks, request: Request) -> Answer | None:
    """Begin an answer that is never an answer."""
    request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-")
    await request.reader.read()
    raise Closed


async def _head_drip(_zoo: ZooBooks, request: Request) -> Answer | None:
    """Write a header after the other, and never the last."""
    request.writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1_000):
        request.writer.write(b"x-%d: y\r\n" % number)
        await request.writer.drain()
        await asyncio.sleep(0.1)
    return WRITTEN


async def _words(_zoo: ZooBooks, request: Request) -> Answer:
    """Refuse with a long text, in which a letter lies across the 4,096th byte, and NUL."""
    return Answer(b"x\0" + "出了问题。".encode() * 1000, status=int(request.number("code", 500)))


MORE: dict[str, Behaviour] = {
    "created": _created,
    "half-a-head": _half_a_head,
    "head-drip": _head_drip,
    "words": _words,
}
