"""What the tests of folds share: results of given values, folded at a desk where nobody is asked."""

from fanfold.fanout.folds.registry import fold
from fanfold.fanout.types import CallResult, Chunk, FoldOptions
from tests.fanout.engine import upstream


def results(*values):
    """A result for each value; None is a failed call."""
    return tuple(
        CallResult(
            index=index,
            chunk=Chunk(index, 0, 1, "x"),
            upstream=upstream(),
            success=value is not None,
            result=value,
        )
        for index, value in enumerate(values)
    )


class NobodyAsked:
    """A desk at which folds may compute, but ask nobody."""

    async def compute(self, function):
        return function()

    async def ask(self, texts):
        raise AssertionError(texts)


async def folded(kind, values, **options):
    """The output of a fold, of results or of the values of results."""
    given = values if values and isinstance(values[0], CallResult) else results(*values)
    return await fold(kind).fold(given, FoldOptions(by=kind, **options), NobodyAsked())
