"""Which price holds when."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter

from fanfold.core.values import value
from fanfold.fanout.types import Price

_begins = attrgetter("effective_from")


@value
class DatedPrice:
    """A price, and the moment from which it holds: until the next one begins."""

    effective_from: datetime
    price: Price


class Schedule:
    """The prices of one upstream: at least one."""

    def __init__(self, prices: Iterable[DatedPrice]) -> None:
        self._prices = sorted(prices, key=_begins)

    def at(self, moment: datetime) -> Price:
        """Return the price in force: the latest that has begun; before the first one, the first."""
        begun = bisect_right(self._prices, moment, key=_begins)
        return self._prices[max(0, begun - 1)].price
