"""What one request may still use up: units of a caller's own budget, and bytes of answers kept in memory."""

import asyncio


class Purse:
    """Units for a request that reserved less than its quote: taken before a call, what it did not use comes back."""

    def __init__(self, units: int) -> None:
        self._free = units
        self._taken = 0
        self._changed = asyncio.Event()

    async def take(self, units: int, *, deadline: float) -> bool:
        """Take `units`, waiting while calls under way may still give enough back; False where they cannot.

        Raises `TimeoutError` at `deadline` (loop time).
        """
        while units > self._free:
            if units > self._free + self._taken:
                return False
            self._changed.clear()
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        self._free -= units
        self._taken += units
        return True

    def settle(self, taken: int, *, used: int) -> None:
        """Give back what a call took and did not use."""
        self._taken -= taken
        self._free += taken - used
        self._changed.set()


class AnswerBytes:
    """The room for all answers of one request."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0
        self.is_spent = False

    def take(self, size: int) -> bool:
        """Take room for an answer of `size` bytes; from the first that does not fit on, there is none."""
        if self.is_spent or self.taken + size > self._limit:
            self.is_spent = True
            return False
        self.taken += size
        return True
