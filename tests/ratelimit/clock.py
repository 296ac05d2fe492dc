class Clock:
    """Monotonic nanoseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000_000)


class TickingClock(Clock):
    """A clock that goes on by itself, a little at every look."""

    def __init__(self, tick_ns: int) -> None:
        super().__init__()
        self._tick_ns = tick_ns

    def __call__(self) -> int:
        self.now += self._tick_ns
        return self.now
