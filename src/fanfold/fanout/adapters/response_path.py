"""JMESPath (https://jmespath.org) over an answer that a stranger wrote, by an expression that a stranger wrote.

Both are hostile together: `[@,@]|[@,@]|…` doubles an answer with every step, `join` multiplies two long values,
and a chain of `[]` walks a long list again and again, all on the event loop. So an expression is compiled once,
every step of its evaluation is counted, and what it can make of an answer is bounded before it is tried.
"""

from functools import lru_cache
from math import prod
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from jmespath.visitor import Options, TreeInterpreter

from fanfold.fanout.adapters import json_exchange
from fanfold.fanout.errors import InvalidPlan
from fanfold.fanout.json_text import is_writable
from fanfold.fanout.transports.base import UpstreamResponse
from fanfold.fanout.types import Cause

_MAX_LENGTH = 500
_MAX_STEPS = 20_000
_MAX_COPIED_BYTES = 2 * 1024 * 1024
# Comparing or merging whole values may read the answer to its end: one step for this many of its bytes.
_BYTES_A_STEP = 50
# Nested, it doubles the escapes with each level; and an answer is JSON as it is.
_REFUSED_FUNCTIONS = frozenset({"to_string"})
_MAKERS = frozenset({"function_expression", "literal"})
_KNOWN_FUNCTIONS = frozenset(Functions.FUNCTION_TABLE)


class TooCostly(Exception):
    """The expression asks for more work than is done on the event loop."""


def pick(path: str, value: Any, *, size: int) -> Any:
    """Return what `path` picks of `value`, whose JSON is `size` bytes; None where it picks nothing.

    Raises `TooCostly`, or `ValueError` where the expression does not fit the value or the result is not JSON.
    """
    parsed = compiled(path)
    copies = _copies(parsed.parsed)
    if copies > 1 and copies * size > _MAX_COPIED_BYTES:
        raise TooCostly
    try:
        picked = _CountingInterpreter(size=size).visit(parsed.parsed, value)
    except (JMESPathError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError("response_path does not fit the answer") from error
    if not is_writable(picked):
        raise ValueError("what response_path makes of the answer is not JSON")
    # A sum or a literal can be infinite, which is written as null.
    return orjson.loads(orjson.dumps(picked)) if _has(parsed.parsed, _MAKERS) else picked


def picked_answer(path: str, response: UpstreamResponse, value: Any) -> Any:
    """Return what `path` picks of an answer, whose JSON is `value`. Raises `CallFailed` where that is nothing."""
    try:
        found = pick(path, value, size=len(response.body))
    except TooCostly:
        raise json_exchange.too_large("The upstream's answer is too large for this response_path.") from None
    except ValueError:
        raise json_exchange.invalid_answer(
            "response_path does not fit the upstream's answer.", response.status, Cause.RESPONSE_PATH
        ) from None
    if found is None:
        raise json_exchange.invalid_answer(
            "response_path picks nothing of the upstream's answer.", response.status, Cause.RESPONSE_PATH
        )
    return found


@lru_cache(maxsize=512)
def compiled(path: str) -> ParsedResult:
    """Return the parsed expression. Raises `InvalidPlan`."""
    if len(path) > _MAX_LENGTH:
        raise InvalidPlan(f"response_path must be at most {_MAX_LENGTH} characters.")
    try:
        parsed = jmespath.compile(path)
    except (JMESPathError, ValueError, RecursionError):
        raise InvalidPlan("response_path must be a JMESPath expression, see https://jmespath.org.") from None
    _check_functions(parsed.parsed)
    return parsed


def _check_functions(node: Any) -> None:
    if node["type"] == "function_expression":
        name = node["value"]
        if name in _REFUSED_FUNCTIONS or name not in _KNOWN_FUNCTIONS:
            raise InvalidPlan(
                "response_path uses a function that is not known, or to_string(), which is not taken."
            )
    for child in _children(node):
        _check_functions(child)


def _has(node: Any, kinds: frozenset[str]) -> bool:
    return node["type"] in kinds or any(_has(child, kinds) for child in _children(node))


def _children(node: Any) -> list[Any]:
    # A slice keeps its three numbers where other nodes keep their children.
    return [child for child in node.get("children", []) if isinstance(child, dict)]


def _copies(node: Any) -> int:
    """Return how many times, at most, a value of the answer can occur in what the expression makes of it."""
    children = _children(node)
    repeated = prod(_copies(child) for child in children if child["type"] == "expref")
    counts = [_copies(child) for child in children if child["type"] != "expref"]
    if node["type"] in {"multi_select_list", "multi_select_dict", "function_expression"}:
        return repeated * max(1, sum(counts))
    return repeated * prod(counts)


def _lengths(values: list[Any]) -> list[int]:
    return [len(value) for value in values if isinstance(value, list | dict)]


class _CountingInterpreter(TreeInterpreter):
    """Counts the steps of one evaluation, and the elements that a step walks over."""

    def __init__(self, *, size: int) -> None:
        self._known = Functions()
        super().__init__(Options(custom_functions=self._known))
        self._left = _MAX_STEPS
        self._whole = size // _BYTES_A_STEP

    def _charge(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooCostly

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._charge(1)
        return super().visit(node, *args, **kwargs)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        operands = [self.visit(child, value) for child in node["children"]]
        if len(_lengths(operands)) > 1:
            self._charge(self._whole)
        known: list[Any] = [{"type": "literal", "value": operand, "children": []} for operand in operands]
        resolved: Any = {**node, "children": known}
        return super().visit_comparator(resolved, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        lengths = _lengths(arguments)
        self._charge(sum(lengths) + (self._whole if len(lengths) > 1 else 0))
        if node["value"] == "join" and lengths and isinstance(arguments[0], str):
            self._charge(len(arguments[0]) * lengths[0])
        return self._known.call_function(node["value"], arguments)
