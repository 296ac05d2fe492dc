"""Those without a slot, in order of arrival, under each of their keys."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from fanfold.ratelimit.concurrency.base import Holder, Holders

MAX_WAITING = 10_000
# Who waits for a slot that somebody has may be lucky; more than these would only wait.
MAX_WAITING_IN_VAIN = 64


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody without a slot.

    `was_told`: no, by the table or by a limit that is full here. What may yet change that has until `give_up_at`.
    """

    holders: Holders
    answer: asyncio.Future[bool]
    give_up_at: float
    was_told: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether there is no answer yet, and somebody who wants it."""
        return not self.answer.done()

    @property
    def was_granted(self) -> bool:
        """Whether the slots were taken for it."""
        return self.answer.done() and not self.answer.cancelled() and self.answer.result()

    def tell(self, *, granted: bool) -> None:
        """Answer."""
        if self.is_waiting:
            self.answer.set_result(granted)


class Waiting:
    """At most 10,000 who wait."""

    def __init__(self) -> None:
        self._all: dict[Waiter, None] = {}
        self._by_key: dict[str, dict[Waiter, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Waiter]:
        return (waiter for waiter in self._all if waiter.is_waiting)

    def of(self, key: str) -> Iterator[Waiter]:
        """Yield those who wait for `key`, the first who came first."""
        return (waiter for waiter in self._by_key.get(key, ()) if waiter.is_waiting)

    def has(self, key: str) -> bool:
        """Whether anybody waits for `key`."""
        return key in self._by_key

    def is_full(self, holder: Holder, *, in_use: int) -> bool:
        """Whether one more would wait in vain."""
        waiting = len(self._by_key.get(holder.key, ()))
        return len(self._all) >= MAX_WAITING or waiting + in_use >= holder.limit + MAX_WAITING_IN_VAIN

    def add(self, waiter: Waiter) -> None:
        """Let one more wait."""
        self._all[waiter] = None
        for holder in waiter.holders:
            self._by_key.setdefault(holder.key, {})[waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Let one go."""
        del self._all[waiter]
        for holder in waiter.holders:
            queue = self._by_key[holder.key]
            del queue[waiter]
            if not queue:
                del self._by_key[holder.key]
