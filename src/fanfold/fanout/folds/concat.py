"""One text of all answers."""

from typing import Any

import orjson

from fanfold.fanout.types import CallResult, FoldOptions


def concat(results: tuple[CallResult, ...], options: FoldOptions) -> str:
    """Join the answers with `options.separator`; what is not a string as compact JSON, failed ones skipped."""
    return options.separator.join(_text(result.result) for result in results if result.success)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
