"""JSON arrays joined, JSON objects merged."""

import re
from typing import Any

import orjson

from fanfold.fanout.errors import FoldFailed
from fanfold.fanout.folds.base import Results
from fanfold.fanout.json_text import MAX_CONTAINERS, containers, is_writable
from fanfold.fanout.types import CallError, ErrorCode, FoldOptions

_TOO_MANY = CallError(
    code=ErrorCode.TOO_LARGE,
    status=None,
    detail=f"merge reads at most {MAX_CONTAINERS} lists and objects out of one text.",
)
# What chat models like to put around JSON (CommonMark, "Fenced code blocks").
_FENCED = re.compile(r"\s*```[^\n`]*\n(.*)```\s*", re.DOTALL)


def merge(results: Results, _options: FoldOptions) -> Any:
    """Return all answers as one array or one object, None of none. Raises `FoldFailed`.

    Objects are merged member by member: arrays joined, objects merged in turn, of two other values the later stays.
    A text that holds a JSON array or object, also in a code fence, counts as what it holds.
    """
    answers = [(result.index, _read(result.result)) for result in results if result.success]
    if not answers:
        return None
    first = answers[0][1]
    kind = type(first)
    for index, answer in answers:
        if type(answer) is not kind or kind not in {list, dict}:
            raise _misfit(index, first)
    if isinstance(first, list):
        return [element for _, answer in answers for element in answer]
    merged: dict[str, Any] = {}
    for _, answer in answers:
        _merge_into(merged, answer)
    return merged


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    fenced = _FENCED.fullmatch(value)
    text = fenced[1] if fenced else value
    if containers(text) > MAX_CONTAINERS:
        raise FoldFailed(_TOO_MANY)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return value
    return found if is_writable(found) else value


def _merge_into(merged: dict[str, Any], answer: dict[str, Any]) -> None:
    """Merge `answer` in place. Answers nest at most 64 deep, so that this does."""
    for name, value in answer.items():
        present = merged.get(name)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge_into(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            present.extend(value)
        else:
            merged[name] = _own(value)


def _own(value: Any) -> Any:
    """Return what may be merged into, so that no result changes."""
    match value:
        case dict():
            return {name: _own(member) for name, member in value.items()}
        case list():
            return list(value)
        case _:
            return value


def _misfit(index: int, first: Any) -> FoldFailed:
    match first:
        case list():
            wanted = "a JSON array like the first"
        case dict():
            wanted = "a JSON object like the first"
        case _:
            wanted = "a JSON array or object"
    detail = f"merge needs every answer to be {wanted}; the one at index {index} is not."
    return FoldFailed(CallError(code=ErrorCode.INVALID_ANSWER, status=None, detail=detail))
