"""What wakes a lane: not at once, so that whoever comes in the next turns of the event loop comes along."""

import asyncio

# Of the event loop. They pass at once where nobody else has anything to do, and where others come to the ledger, more
# comes along: half as many flushes. Long turns are somebody else's work.
TURNS = 8
MOST_S = 0.001


class Bell:
    """Wakes the one who listens, some turns after it is rung. Nobody listens: nothing happens, nothing is kept."""

    def __init__(self) -> None:
        self._listener: asyncio.Future[None] | None = None

    def heard(self) -> asyncio.Future[None]:
        """Listen: what is returned is done some turns after the next ring."""
        self._listener = asyncio.get_running_loop().create_future()
        return self._listener

    def ring(self) -> None:
        """Wake who listens by now."""
        if self._listener is not None:
            loop = self._listener.get_loop()
            loop.call_soon(_turn, self._listener, TURNS, loop.time() + MOST_S)
            self._listener = None


def _turn(listener: asyncio.Future[None], left: int, until: float) -> None:
    # By callbacks: a task that waited for each turn would be woken through all its coroutines.
    loop = listener.get_loop()
    if left > 1 and loop.time() < until:
        loop.call_soon(_turn, listener, left - 1, until)
    elif not listener.done():
        listener.set_result(None)
