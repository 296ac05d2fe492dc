"""Every chunk to every upstream."""

from collections.abc import Iterator

from fanfold.fanout.strategies.base import Assignment
from fanfold.fanout.types import Chunk, Upstream


def broadcast(chunks: tuple[Chunk, ...], upstreams: tuple[Upstream, ...]) -> Iterator[Assignment]:
    """Yield chunk i for upstream u as call i × n + u."""
    alone = [(upstream,) for upstream in upstreams]  # shared by all calls: there may be ten thousand
    for chunk in chunks:
        for candidates in alone:
            yield chunk, candidates
