"""Every chunk to the first upstream that answers it."""

from collections.abc import Iterator

from fanfold.fanout.strategies.base import Assignment
from fanfold.fanout.types import Chunk, Upstream


def fallback(chunks: tuple[Chunk, ...], upstreams: tuple[Upstream, ...]) -> Iterator[Assignment]:
    """Yield every chunk with all upstreams as candidates, in the order the request names them."""
    for chunk in chunks:
        yield chunk, upstreams
