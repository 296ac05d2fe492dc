"""A database that is away for a moment: a job in a worker's hands waits for it, since calls are under way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fanfold.core.crypto import SealBroken
from fanfold.core.errors import NotReady

T = TypeVar("T")

# As long as the lane tries to write what was answered.
PATIENCE_S = 15.0
_PAUSE_S = 0.25


async def patiently(ask: Callable[[], Awaitable[T]], *, patience_s: float = PATIENCE_S) -> T:
    """Return what `ask` gives, which may be asked again; raises its `NotReady` once the patience is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while True:
        try:
            return await ask()
        except SealBroken:
            raise
        except NotReady:
            if loop.time() >= end:
                raise
        await asyncio.sleep(_PAUSE_S)
