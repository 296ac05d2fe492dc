import json

import pytest

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.folds.registry import FOLDS, fold
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


def test_list_has_no_output():
    assert fold("list")(results("a", "b"), FoldOptions()) is None


@pytest.mark.parametrize(
    ("values", "separator", "output"),
    [
        (("一", "二", "三"), "", "一二三"),
        (("a", "b"), "\n", "a\nb"),
        (("a", None, "c"), " ", "a c"),
        (({"b": 1, "a": "é"}, 7, [1, "x"], "s", True), "|", '{"b":1,"a":"é"}|7|[1,"x"]|s|true'),
        ((None, None), "|", ""),
        (("", ""), "|", "|"),
    ],
)
def test_concat_joins_strings_and_compact_json_and_skips_what_failed(values, separator, output):
    assert fold("concat")(results(*values), FoldOptions(by="concat", separator=separator)) == output


@pytest.mark.parametrize("kind", FOLDS)
@pytest.mark.parametrize("values", [(), (None,), ("a", {"b": [1]}, None, "\U0001f469\u200d\U0001f680")])
def test_every_fold_gives_json_for_any_results(kind, values):
    output = fold(kind)(results(*values), FoldOptions(by=kind))
    assert json.loads(json.dumps(output)) == output


def test_an_unknown_fold_names_those_there_are():
    with pytest.raises(UnknownKind, match="list, concat"):
        fold("vote")
