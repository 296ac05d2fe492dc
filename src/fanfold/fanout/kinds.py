"""Where a plan finds its splitter, strategy, fold and adapters: the registries, or a test's own."""

from collections.abc import Callable

from fanfold.core.values import value
from fanfold.fanout.adapters.base import Adapter
from fanfold.fanout.adapters.registry import adapter
from fanfold.fanout.folds.base import Fold
from fanfold.fanout.folds.registry import fold
from fanfold.fanout.splitters.base import Splitter
from fanfold.fanout.splitters.registry import splitter
from fanfold.fanout.strategies.base import Strategy
from fanfold.fanout.strategies.registry import strategy


@value(kw_only=True)
class Kinds:
    """Each returns what a request names by a word, or raises `UnknownKind`."""

    splitter: Callable[[str], Splitter] = splitter
    strategy: Callable[[str], Strategy] = strategy
    fold: Callable[[str], Fold] = fold
    adapter: Callable[[str], Adapter] = adapter
