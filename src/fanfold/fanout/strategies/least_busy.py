"""Every chunk to the upstream that is least busy when its call begins."""

from collections.abc import Iterator, Sequence

from fanfold.fanout.strategies.base import Assignment, Candidates, Load
from fanfold.fanout.types import Chunk, Upstream


class LeastBusy:
    """All upstreams are candidates for each chunk; one is asked, which nobody knows before."""

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Yield each chunk with all upstreams."""
        for chunk in chunks:
            yield chunk, upstreams

    def preferred(self, candidates: Candidates) -> Upstream | None:
        """Return None unless there is one alone."""
        return candidates[0] if len(candidates) == 1 else None

    def order(self, candidates: Candidates, load: Load) -> Sequence[Upstream]:
        """Return the one with the smallest share of its slots in use, the first of equals; none that is open.

        Where all circuits are open they are all as good.
        """
        closed = [one for one in candidates if not load.is_open(one)]
        return (min(closed or candidates, key=load.share),)

    def width(self, candidates: Candidates, load: Load) -> int:
        """Return what all of them take at once."""
        return sum({one.key: load.most(one) for one in candidates}.values())
