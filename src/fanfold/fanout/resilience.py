"""What keeps an upstream that fails from being asked for ever."""

from dataclasses import field

from fanfold.core.values import value
from fanfold.fanout.breaker import Breaker
from fanfold.fanout.retry_budget import RetryBudgets


@value(kw_only=True)
class Resilience:
    """The circuits and the retry budgets of one process."""

    breaker: Breaker = field(default_factory=Breaker)
    retry_budgets: RetryBudgets = field(default_factory=RetryBudgets)
