"""Every fold by its kind. A new one: a file beside this, and one line here."""

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.folds.base import Fold
from fanfold.fanout.folds.concat import concat
from fanfold.fanout.folds.list import fold_list

FOLDS: dict[str, Fold] = {
    "list": fold_list,
    "concat": concat,
}


def fold(kind: str) -> Fold:
    """Return the fold of this kind. Raises `UnknownKind`."""
    try:
        return FOLDS[kind]
    except KeyError:
        raise UnknownKind("fold", kind, tuple(FOLDS)) from None
