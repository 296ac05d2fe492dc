"""Which slots a call needs, in which order, and how many of them one owner may hold."""

from functools import lru_cache

from fanfold.fanout.engine import Engine
from fanfold.fanout.slots import ALL, Need
from fanfold.fanout.types import Upstream

# One in so many of a common upstream's slots is kept from any one owner.
_HEADROOM = 8


def needs(
    upstream: Upstream, owner: str | None, engine: Engine, *, is_background: bool = False
) -> tuple[Need, ...]:
    """Return the keys to take a slot of, one after the other: the very same for all calls with the same ones."""
    most = upstream.max_concurrency, owner_limit(upstream, owner), engine.max_workers, engine.max_in_flight
    return _needs(upstream.key, owner, most, is_common=upstream.is_common, is_background=is_background)


@lru_cache(maxsize=1_024)
def _needs(
    key: str, owner: str | None, most: tuple[int, int, int, int], *, is_common: bool, is_background: bool
) -> tuple[Need, ...]:
    at_once, of_owner, of_owner_anywhere, anywhere = most
    needed = [(key, at_once, of_owner)]
    if owner is not None:
        # Whatever one owner's calls wait for, and however many runs they are in: the others find slots. While they
        # wait they hold nothing that is not their own: a common upstream's slot comes after theirs.
        own = (f"owner {owner}", of_owner_anywhere, of_owner_anywhere)
        needed.insert(0 if is_common else 1, own)
    if is_background:
        # First, so that what waits here stands in no other line before what the owner waits for itself.
        for name, most_held in (
            (f"background of {owner}", of_owner_anywhere),
            (f"background of {owner} at {key}", of_owner),
        ):
            limit = _in_background(most_held)
            needed.insert(0, (name, limit, limit))
    return (*needed, (ALL, anywhere, anywhere))


def _in_background(most: int) -> int:
    """Return how many of an owner's slots its background work may hold: three of four, or the only one."""
    return max(1, most * 3 // 4)


def owner_limit(upstream: Upstream, owner: str | None) -> int:
    """Return the most of an upstream's slots for one owner: a common one keeps some for who comes next.

    Without them a small request would wait for one of a big one's calls to end, which is twice its own time.
    """
    most = upstream.max_concurrency
    if owner is None or not upstream.is_common or most == 1:
        return most
    return most - max(1, most // _HEADROOM)
