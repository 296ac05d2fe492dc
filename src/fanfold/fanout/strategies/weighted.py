"""Every chunk to one upstream, each in turn as often as its weight says."""

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import add

from fanfold.fanout.strategies.base import Assignment, Candidates, Load, width_of_first
from fanfold.fanout.types import Chunk, Upstream


class Weighted:
    """Chunk i goes to the i-th of the smooth weighted sequence, as nginx has it; to the next where that one is open.

    The sequence rests on the weights and their order alone: the same request always goes the same ways.
    """

    def assign(self, chunks: tuple[Chunk, ...], upstreams: Candidates) -> Iterator[Assignment]:
        """Yield each chunk with the one preferred, and the others after it, in turn."""
        # Shared by all calls: there may be ten thousand.
        rotated = [upstreams[place:] + upstreams[:place] for place in range(len(upstreams))]
        first = chunks[0].index if chunks else 0
        sequence = islice(_smooth([upstream.weight for upstream in upstreams]), first, None)
        for chunk, place in zip(chunks, sequence, strict=False):
            yield chunk, rotated[place]

    def preferred(self, candidates: Candidates) -> Upstream:
        """Return the one whose turn it is."""
        return candidates[0]

    def order(self, candidates: Candidates, load: Load) -> Sequence[Upstream]:
        """Return the first whose circuit is not open, alone; the preferred one where all are."""
        return (next((one for one in candidates if not load.is_open(one)), candidates[0]),)

    def width(self, candidates: Candidates, load: Load) -> int:
        """Return what the preferred one takes at once."""
        return width_of_first(candidates, load)


def _smooth(weights: list[int]) -> Iterator[int]:
    """Yield places without end: of any sum(weights) in a row each has its weight, spread as evenly as it goes.

    Each step everybody gains their weight, and the one in front pays all of it (nginx's smooth weighted round robin:
    https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1).
    """
    total, standing = sum(weights), [0] * len(weights)
    while True:
        standing = list(map(add, standing, weights))
        ahead = standing.index(max(standing))
        standing[ahead] -= total
        yield ahead
