"""The answer most often given."""

import unicodedata
from collections import Counter
from typing import Any

import orjson
import regex

from fanfold.fanout.folds.base import Results
from fanfold.fanout.types import FoldOptions

# Text in which more than 30 marks follow each other is no language's (Stream-Safe Text Format, UAX #15), and putting
# them in order takes time by the square of their number, in which nothing else runs: 40,000 of them take 6 s.
_MANY_MARKS = regex.compile(r"\p{M}{31}")


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
        text = value.strip()
        value = (text if _MANY_MARKS.search(text) else unicodedata.normalize("NFC", text)).casefold()
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
