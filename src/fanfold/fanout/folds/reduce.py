"""An upstream folds the answers in groups, and what it answers again, until one is left."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fanfold.core.values import value
from fanfold.fanout.errors import FoldFailed
from fanfold.fanout.folds.base import Desk, Results
from fanfold.fanout.json_text import as_text
from fanfold.fanout.types import CallError, ErrorCode, FoldOptions

MAX_CODE_POINTS = 32_000
"""The most that one call of the fold is sent of answers, separators and all."""

DEFAULT_PROMPT = (
    "These are answers to consecutive parts of one text. Combine them into one answer of the same kind, in the "
    "language they are written in, and say nothing else.\n\n{chunk}"
)
"""What an AI kind is sent where the request says nothing else."""

_TOO_LONG = CallError(
    code=ErrorCode.TOO_LARGE,
    status=None,
    detail=f"Answers are longer than the {MAX_CODE_POINTS} characters that reduce sends at once; ask for shorter ones.",
)


class Reduce:
    """Folds neighbours, as many as fit into one call; a single answer is the output as it is, nothing is asked."""

    joins = False

    def calls_max(self, answers: int) -> int:
        """Return one less than the answers: each call makes at least two of them one."""
        return max(0, answers - 1)

    async def fold(self, results: Results, options: FoldOptions, desk: Desk) -> Any:
        """Return the one answer that is left; None of none. Raises `FoldFailed`."""
        answers = [result.result for result in results if result.success]
        while len(answers) > 1:
            answers = await _folded_once(answers, options.separator, desk)
        return answers[0] if answers else None


async def _folded_once(answers: Sequence[Any], separator: str, desk: Desk) -> list[Any]:
    """Return what is left after each group was folded; one that fits with no neighbour stays as it is."""
    groups = await desk.compute(partial(_groups, answers, separator))
    folded = iter(await desk.ask([group.text for group in groups if group.size > 1]))
    return [next(folded) if group.size > 1 else group.text for group in groups]


@value
class _Group:
    """So many neighbours, as they are sent."""

    text: str
    size: int


def _groups(answers: Sequence[Any], separator: str) -> list[_Group]:
    """Return the answers in groups; raises `FoldFailed` where one fits beside no other: before any is paid for."""
    texts = list(map(as_text, answers))
    groups = [_Group(separator.join(group), len(group)) for group in _neighbours(texts, separator)]
    if len(groups) == len(texts) or max(map(len, texts)) > MAX_CODE_POINTS:
        raise FoldFailed(_TOO_LONG)
    return groups


def _neighbours(texts: Sequence[str], separator: str) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    length = 0
    for text in texts:
        length += len(text) + len(separator)
        if groups[-1] and length - len(separator) > MAX_CODE_POINTS:
            groups.append([])
            length = len(text) + len(separator)
        groups[-1].append(text)
    return groups
