"""The answer most often given."""

import unicodedata
from collections import Counter
from typing import Any

import orjson

from fanfold.fanout.folds.base import Results
from fanfold.fanout.types import FoldOptions


def vote(results: Results, _options: FoldOptions) -> Any:
    """Return the answer that most results agree on, as it was first given; of a tie the earliest, of none None.

    Texts agree whatever their case and the spaces around them, JSON whatever the order of its members.
    """
    first: dict[bytes, Any] = {}
    votes: Counter[bytes] = Counter()
    for result in results:
        if result.success:
            ballot = _ballot(result.result)
            first.setdefault(ballot, result.result)
            votes[ballot] += 1
    # most_common keeps the order of first appearance among equals.
    return first[votes.most_common(1)[0][0]] if votes else None


def _ballot(value: Any) -> bytes:
    if isinstance(value, str):
        value = unicodedata.normalize("NFC", value.strip()).casefold()
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
