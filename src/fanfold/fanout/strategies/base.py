"""The strategy port: who answers which chunk."""

from collections.abc import Iterator
from typing import Protocol

from fanfold.fanout.types import Chunk, Upstream

Assignment = tuple[Chunk, tuple[Upstream, ...]]


class Strategy(Protocol):
    """Yields `(chunk, candidates)` in order of the call index. Never an empty candidate list."""

    def __call__(self, chunks: tuple[Chunk, ...], upstreams: tuple[Upstream, ...]) -> Iterator[Assignment]:
        """Assign upstreams to chunks."""
        ...
