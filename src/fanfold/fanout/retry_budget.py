"""How many attempts may be repeated: a share of the calls, so that who is down is not asked ten times as much.

A token bucket as Finagle's RetryBudget (finagle.github.io/blog/2016/02/08/retry-budgets: a fifth of the requests on
top of a small rate) and gRPC's retry throttling (github.com/grpc/proposal, A6) have one.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from fanfold.core.values import value
from fanfold.fanout.breaker import Key, circuit_key
from fanfold.fanout.types import Upstream

MAX_BUDGETS = 10_000


@value(kw_only=True)
class BudgetRules:
    """Retries that a budget holds at most and at first, that each call adds, and that each second adds."""

    reserve: float = 100.0
    per_call: float = 0.2
    per_second: float = 5.0


class RetryBudgets:
    """A budget for each upstream and owner; only those that are not full take memory, at most `max_budgets`.

    `refused` counts the retries that were not made.
    """

    def __init__(
        self,
        *,
        rules: BudgetRules | None = None,
        max_budgets: int = MAX_BUDGETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused = 0
        self._rules = rules or BudgetRules()
        self._most, self._clock = max_budgets, clock
        # Tokens, and when they were counted. (The first one of a plain dict is slow to find once others have gone.)
        self._left: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        while self._forgot_first():
            pass
        return len(self._left)

    def add(self, owner: str | None, upstream: Upstream) -> None:
        """Add a call's share, when its first attempt begins."""
        if not self._left:  # all of them are full
            return
        key = circuit_key(owner, upstream)
        if key in self._left:
            self._keep(key, self._tokens(key) + self._rules.per_call)

    def take(self, owner: str | None, upstream: Upstream) -> bool:
        """Take one retry; returns whether there was one."""
        key = circuit_key(owner, upstream)
        tokens = self._tokens(key)
        if tokens < 1.0:
            self.refused += 1
            return False
        self._keep(key, tokens - 1.0)
        return True

    def _tokens(self, key: Key) -> float:
        tokens, counted_at = self._left.get(key, (self._rules.reserve, 0.0))
        grown = tokens + (self._clock() - counted_at) * self._rules.per_second
        return min(self._rules.reserve, grown)

    def _keep(self, key: Key, tokens: float) -> None:
        self._left.pop(key, None)
        self._left[key] = tokens, self._clock()
        self._forgot_first()
        self._forgot_first()  # two for each that comes: what is full again is soon gone
        if len(self._left) > self._most:
            del self._left[next(iter(self._left))]

    def _forgot_first(self) -> bool:
        first = next(iter(self._left), None)
        if first is None or self._tokens(first) < self._rules.reserve:
            return False
        del self._left[first]
        return True
