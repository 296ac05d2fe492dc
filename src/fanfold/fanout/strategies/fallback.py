"""Every chunk to the first upstream that answers it."""

from collections.abc import Iterator

from fanfold.fanout.strategies.base import Assignment, Candidates, Fixed
from fanfold.fanout.types import Chunk


class Fallback(Fixed):
    """All upstreams are candidates for each chunk, in the order the request names them."""

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Yield each chunk with all upstreams."""
        for chunk in chunks:
            yield chunk, upstreams
