"""Every strategy by its kind. A new one: a file beside this, and one line here."""

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.strategies.base import Strategy
from fanfold.fanout.strategies.broadcast import broadcast
from fanfold.fanout.strategies.fallback import fallback
from fanfold.fanout.strategies.round_robin import round_robin

STRATEGIES: dict[str, Strategy] = {
    "round_robin": round_robin,
    "fallback": fallback,
    "broadcast": broadcast,
}


def strategy(kind: str) -> Strategy:
    """Return the strategy of this kind. Raises `UnknownKind`."""
    try:
        return STRATEGIES[kind]
    except KeyError:
        raise UnknownKind("strategy", kind, tuple(STRATEGIES)) from None
