"""Every strategy by its kind. A new one: a file beside this, and one line here."""

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.strategies.base import Strategy
from fanfold.fanout.strategies.broadcast import Broadcast
from fanfold.fanout.strategies.fallback import Fallback
from fanfold.fanout.strategies.least_busy import LeastBusy
from fanfold.fanout.strategies.round_robin import RoundRobin
from fanfold.fanout.strategies.weighted import Weighted

STRATEGIES: dict[str, Strategy] = {
    "round_robin": RoundRobin(),
    "weighted": Weighted(),
    "least_busy": LeastBusy(),
    "fallback": Fallback(),
    "broadcast": Broadcast(),
}


def strategy(kind: str) -> Strategy:
    """Return the strategy of this kind. Raises `UnknownKind`."""
    try:
        return STRATEGIES[kind]
    except KeyError:
        raise UnknownKind("strategy", kind, tuple(STRATEGIES)) from None
