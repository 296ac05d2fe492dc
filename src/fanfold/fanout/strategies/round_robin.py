"""Every chunk to one upstream, in turn."""

from collections.abc import Iterator

from fanfold.fanout.strategies.base import Assignment, Candidates, Fixed
from fanfold.fanout.types import Chunk


class RoundRobin(Fixed):
    """Chunk i goes to `upstreams[i % n]`."""

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Yield each chunk with its one upstream."""
        alone = [(upstream,) for upstream in upstreams]  # shared by all calls: there may be ten thousand
        for chunk in chunks:
            yield chunk, alone[chunk.index % len(alone)]
