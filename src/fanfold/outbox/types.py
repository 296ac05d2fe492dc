"""What the relay hands to handlers, and when it does so again."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fanfold.core.values import value

_HIGHEST_DOUBLING = 40  # beyond any pause worth waiting for, and far below what a float holds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Message:
    """A claimed message. `attempts` counts its claims, this one too, and is the fence of it."""

    tenant_id: UUID
    id: UUID
    topic: str
    payload: Mapping[str, Any]
    attempts: int


# May be called more than once with the same message: what it does is keyed by the message's id, or does no harm twice.
Handler = Callable[[Message], Awaitable[None]]


def in_turn(*handlers: Handler) -> Handler:
    """Return a handler that is several: each after the one before it has done; where one fails, all are asked again."""

    async def handle(message: Message) -> None:
        for handler in handlers:
            await handler(message)

    return handle


@value(kw_only=True)
class Schedule:
    """When a failed message comes again: pauses in seconds, doubling; dead after `most_attempts`, about half a day."""

    first_s: float = 1.0
    longest_s: float = 3600.0
    most_attempts: int = 24

    def pause_s(self, attempts: int, jitter: float) -> float:
        """Return the pause after so many attempts; `jitter` in 0..1 takes away up to half of it."""
        doubled: float = self.first_s * 2.0 ** min(attempts - 1, _HIGHEST_DOUBLING)
        return min(self.longest_s, doubled) * (1 - jitter / 2)
