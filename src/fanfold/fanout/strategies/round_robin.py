"""Every chunk to one upstream, in turn."""

from collections.abc import Iterator
from itertools import cycle, islice

from fanfold.fanout.strategies.base import Assignment, Candidates, Fixed
from fanfold.fanout.types import Chunk


class RoundRobin(Fixed):
    """Chunk i goes to `upstreams[i % n]`."""

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Return each chunk with its one upstream."""
        alone = [(upstream,) for upstream in upstreams]  # shared by all calls: there may be ten thousand
        first = chunks[0].index % len(alone) if chunks else 0
        return zip(chunks, islice(cycle(alone), first, None), strict=False)
