"""Work that would hold the event loop, taken off it where there is a pool for that."""

from collections.abc import Callable
from typing import TypeVar

from fanfold.core.errors import Overloaded
from fanfold.core.offload import Offload

T = TypeVar("T")


class Work:
    """Runs short work at once, and long work in `offload`, or at once where there is none."""

    def __init__(self, offload: Offload | None) -> None:
        self._offload = offload

    @property
    def threads(self) -> int:
        """How many calls can be off the loop at once; 0 where there is no pool."""
        return self._offload.threads if self._offload else 0

    async def run(self, function: Callable[[], T], *, is_long: bool) -> T:
        """Return `function()`. Raises `Overloaded` where the pool is full."""
        if self._offload is None or not is_long:
            return function()
        return await self._offload.run(function)

    async def run_anyway(self, function: Callable[[], T], *, is_long: bool) -> T:
        """Return `function()`, run here where the pool is full: too late to refuse."""
        try:
            return await self.run(function, is_long=is_long)
        except Overloaded:
            return function()
