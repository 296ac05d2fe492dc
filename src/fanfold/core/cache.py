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
    failures: int = 0
    failure: Exception | None = None


class FreshCache(Generic[Key, Value]):
    """Keeps a loaded value for `ttl_s` seconds, counted from the start of its load; at most `max_entries`.

    A lock for each key lets one caller load while the others wait, also for its failure; when that caller is
    cancelled the next one loads.
    None is kept too, unless `keeps_none` is off: keys that strangers make up must not displace those that are real.
    """

    def __init__(
        self,
        *,
        ttl_s: float,
        max_entries: int,
        keeps_none: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s, self._max_entries, self._keeps_none, self._clock = ttl_s, max_entries, keeps_none, clock
        self._entries: dict[Key, _Entry[Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key: Key) -> Value | None:
        """Return the value of `key` if it is there and fresh."""
        try:
            entry = self._entries[key]
        except KeyError:
            return None
        return entry.value if self._clock() < entry.fresh_until else None

    async def get(self, key: Key, load: Callable[[], Awaitable[Value | None]]) -> Value | None:
        """Return the value of `key`, loading it when it is not fresh."""
        entry = self._entries.get(key) or _Entry()
        if self._clock() < entry.fresh_until:
            return entry.value
        self._keep(key, entry)
        seen = entry.failures
        async with entry.lock:
            if entry.failure is not None and entry.failures != seen:
                raise entry.failure  # of the load that this caller waited for
            if self._clock() >= entry.fresh_until:
                await self._load(entry, load)
        if entry.value is None and not self._keeps_none:
            self.forget(key)
        return entry.value

    async def _load(self, entry: _Entry[Value], load: Callable[[], Awaitable[Value | None]]) -> None:
        started = self._clock()
        try:
            entry.value = await load()
        except Exception as failure:
            entry.failures, entry.failure = entry.failures + 1, failure
            raise
        entry.fresh_until, entry.failure = started + self._ttl_s, None

    def forget(self, key: Key) -> None:
        """Drop the value of `key`, so that this process sees its own change at once."""
        self._entries.pop(key, None)

    def _keep(self, key: Key, entry: _Entry[Value]) -> None:
        """Put `entry` behind all others; the first ones, loaded the longest ago, make room."""
        self._entries.pop(key, None)
        self._entries[key] = entry
        while len(self._entries) > self._max_entries:
            self._entries.pop(next(iter(self._entries)))
