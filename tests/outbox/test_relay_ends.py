"""How a relay writes what its handlers made of their messages, while others of them end."""

import asyncio
from uuid import UUID

from fanfold.core.identifiers import uuid7
from fanfold.outbox.relay import Relay
from fanfold.outbox.types import Message


class SlowOutbox:
    """Hands out two messages; while the first one's end is being written, the second one's handler ends."""

    def __init__(self) -> None:
        self.messages = [
            Message(tenant_id=UUID(int=0), id=uuid7(), topic=topic, payload={}, attempts=1) for topic in "ab"
        ]
        self.writing = asyncio.Event()
        self.ended: list[str] = []
        self.given_back: list[str] = []

    async def claim(self, *_asked: object, **_limits: object) -> list[Message]:
        claimed, self.messages = self.messages, []
        return claimed

    async def done(self, messages: list[Message]) -> int:
        self.writing.set()
        await asyncio.sleep(0.02)
        self.ended += [message.topic for message in messages]
        return len(messages)

    async def retry(self, message: Message, *, pause_s: float) -> bool:
        del pause_s
        self.given_back.append(message.topic)
        return True

    async def purge(self, **_limits: object) -> int:
        return 0

    async def close(self) -> None:
        """Nothing is open."""


async def test_what_is_delivered_while_another_end_is_written_is_not_told_again():
    outbox = SlowOutbox()

    async def at_once(_message: Message) -> None:
        return

    async def while_writing(_message: Message) -> None:
        await outbox.writing.wait()

    async def never() -> object:
        raise OSError

    relay = Relay(never, {"a": at_once, "b": while_writing})
    relay._outbox = outbox  # type: ignore[assignment]  # what the relay asks of it, and no database
    async with asyncio.timeout(60):
        while len(outbox.ended) < 2 and not outbox.given_back:
            await relay.round()
            await asyncio.sleep(0.001)
    assert (sorted(outbox.ended), outbox.given_back) == (["a", "b"], [])
