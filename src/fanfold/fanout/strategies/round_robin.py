"""Every chunk to one upstream, in turn."""

from collections.abc import Iterator

from fanfold.fanout.strategies.base import Assignment
from fanfold.fanout.types import Chunk, Upstream


def round_robin(chunks: tuple[Chunk, ...], upstreams: tuple[Upstream, ...]) -> Iterator[Assignment]:
    """Yield chunk i for `upstreams[i % n]`."""
    alone = [(upstream,) for upstream in upstreams]  # shared by all calls: there may be ten thousand
    for position, chunk in enumerate(chunks):
        yield chunk, alone[position % len(alone)]
