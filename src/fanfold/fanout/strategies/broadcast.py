"""Every chunk to every upstream."""

from collections.abc import Iterator

from fanfold.fanout.strategies.base import Assignment, Candidates, Fixed
from fanfold.fanout.types import Chunk


class Broadcast(Fixed):
    """Chunk i goes to upstream u as call i × n + u."""

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Yield each chunk once for each upstream."""
        alone = [(upstream,) for upstream in upstreams]  # shared by all calls: there may be ten thousand
        for chunk in chunks:
            for candidates in alone:
                yield chunk, candidates
