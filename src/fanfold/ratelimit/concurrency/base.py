"""The values of a limit on what runs at once."""

from collections.abc import Sequence
from functools import lru_cache

from fanfold.core.values import value


@value
class Holder:
    """At most `limit` requests of `key` at once, over all processes; `name` says what kind of key it is.

    Limits may differ from those of the last request: they hold from this one on. ValueError where one is below 1.
    """

    name: str
    key: str
    limit: int

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("limit must be 1 or more")


class LimitReached(Exception):
    """As many requests of `holder` run as may."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.name)
        self.holder = holder


Holders = Sequence[Holder]


@lru_cache(maxsize=1024)
def spare_slots(limit: int, workers: int) -> int:
    """Return how many free slots one process may keep, so that most requests cost no statement: 0 for small limits.

    All workers of one server together keep at most a sixteenth of the limit from other servers.
    """
    return limit // (16 * workers)
