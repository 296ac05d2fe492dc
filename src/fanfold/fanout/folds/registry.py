"""Every fold by its kind. A new one: a file beside this, and one line here."""

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.folds.base import Computed, Fold
from fanfold.fanout.folds.concat import concat
from fanfold.fanout.folds.list import List
from fanfold.fanout.folds.merge import merge
from fanfold.fanout.folds.reduce import Reduce
from fanfold.fanout.folds.vote import vote

FOLDS: dict[str, Fold] = {
    "list": List(),
    "concat": Computed(concat, joins=True),
    "merge": Computed(merge),
    "reduce": Reduce(),
    "vote": Computed(vote),
}


def fold(kind: str) -> Fold:
    """Return the fold of this kind. Raises `UnknownKind`."""
    try:
        return FOLDS[kind]
    except KeyError:
        raise UnknownKind("fold", kind, tuple(FOLDS)) from None
