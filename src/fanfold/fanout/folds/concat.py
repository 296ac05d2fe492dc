"""One text of all answers."""

from fanfold.fanout.folds.base import Results
from fanfold.fanout.json_text import as_text
from fanfold.fanout.types import FoldOptions


def concat(results: Results, options: FoldOptions) -> str:
    """Join the answers with `options.separator`; what is not a string as compact JSON, failed ones skipped."""
    return options.separator.join(as_text(result.result) for result in results if result.success)
