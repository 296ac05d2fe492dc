"""The strategy port: who answers which chunk."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from fanfold.fanout.types import Chunk, Upstream

Candidates = tuple[Upstream, ...]
Assignment = tuple[Chunk, Candidates]


class Load(Protocol):
    """How the upstreams are just now, as this process and the request's owner know it."""

    def share(self, upstream: Upstream) -> float:
        """Calls under way over the most at once: 1.0 where no slot is free."""
        ...

    def is_open(self, upstream: Upstream) -> bool:
        """Tell whether its circuit is open: it would refuse a call at once."""
        ...

    def most(self, upstream: Upstream) -> int:
        """Return the most calls of the owner that may be under way to an upstream."""
        ...


class Strategy(Protocol):
    """Says before a request runs who may answer which chunk, and when a call begins who is asked."""

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Yield `(chunk, candidates)` in order of the call index. Never an empty candidate list.

        The chunks follow one another, but need not be the text's first: who answers one hangs on its index alone. Each
        is yielded as often as any other.
        """
        ...

    def preferred(self, candidates: Candidates) -> Upstream | None:
        """Return who will be asked first unless something is wrong with it, None where nobody knows yet."""
        ...

    def order(self, candidates: Candidates, load: Load) -> Sequence[Upstream]:
        """Return whom to ask, in turn until one answers: one at least."""
        ...

    def width(self, candidates: Candidates, load: Load) -> int:
        """Return how many calls with these candidates may be under way at once."""
        ...


class Fixed:
    """What strategies share that leave nothing open: the candidates are asked in their order."""

    def preferred(self, candidates: Candidates) -> Upstream | None:
        """Return the first."""
        return candidates[0]

    def order(self, candidates: Candidates, _load: Load) -> Sequence[Upstream]:
        """Return all of them."""
        return candidates

    def width(self, candidates: Candidates, load: Load) -> int:
        """Return what the first one takes at once: it is the one that is asked first."""
        return width_of_first(candidates, load)


def width_of_first(candidates: Candidates, load: Load) -> int:
    """Return how many calls of the owner the first one takes at once; of anybody, where another may answer for it."""
    first = candidates[0]
    return load.most(first) if len(candidates) == 1 else first.max_concurrency
