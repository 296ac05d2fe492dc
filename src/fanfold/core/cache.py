"""A bounded cache of values that are true for a moment: one load at a time for each key."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fresh_until: float = float("-inf")
    value: Value | None = None


class FreshCache(Generic[Key, Value]):
    """Keeps a loaded value for `ttl_s` seconds, counted from the start of its load; at most `max_entries`.

    A lock for each key lets one caller load while the others wait; when that caller is cancelled the next one loads.
    """

    def __init__(
        self, *, ttl_s: float, max_entries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s, self._max_entries, self._clock = ttl_s, max_entries, clock
        self._entries: dict[Key, _Entry[Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: Key, load: Callable[[], Awaitable[Value | None]]) -> Value | None:
        """Return the value of `key`, loading it when it is not fresh. None is a value too."""
        entry = self._entries.get(key)
        if entry is None:
            self._make_room()
            entry = self._entries[key] = _Entry()
        if self._clock() < entry.fresh_until:
            return entry.value
        async with entry.lock:
            if self._clock() >= entry.fresh_until:
                started = self._clock()
                entry.value = await load()
                entry.fresh_until = started + self._ttl_s
        return entry.value

    def forget(self, key: Key) -> None:
        """Drop the value of `key`, so that this process sees its own change at once."""
        self._entries.pop(key, None)

    def _make_room(self) -> None:
        if len(self._entries) < self._max_entries:
            return
        now = self._clock()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.fresh_until > now}
        while len(self._entries) >= self._max_entries:
            self._entries.pop(next(iter(self._entries)))
