"""WebSockets whose clients have not said who they are: few of them at once, and of one address fewer still."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fanfold.core.errors import ConcurrencyExceeded

MOST = 128
MOST_OF_ADDRESS = 8
_FULL = "Too many sockets wait for a credential. Send yours in the handshake, or try again in 5 s."


class Strangers:
    """Counts the sockets of one process that wait for their first frame."""

    def __init__(self, *, most: int = MOST, most_of_address: int = MOST_OF_ADDRESS) -> None:
        self._most, self._most_of_address = most, most_of_address
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._waiting.total()

    @contextmanager
    def waiting(self, address: str) -> Iterator[None]:
        """Count one more of `address` while the body runs; raises `ConcurrencyExceeded` where there are enough."""
        if len(self) >= self._most or self._waiting[address] >= self._most_of_address:
            raise ConcurrencyExceeded(_FULL)
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
