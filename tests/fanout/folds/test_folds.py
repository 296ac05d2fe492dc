import json

import pytest

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.folds.registry import FOLDS, fold
from tests.fanout.folds.folding import folded


async def test_list_has_no_output():
    assert await folded("list", ("a", "b")) is None


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
async def test_concat_joins_strings_and_compact_json_and_skips_what_failed(values, separator, output):
    assert await folded("concat", values, separator=separator) == output


@pytest.mark.parametrize("kind", FOLDS)
@pytest.mark.parametrize("values", [(), (None,), ('["👩‍🚀"]',), ([1], None)])
async def test_every_fold_gives_json_for_one_answer_or_none_and_asks_nobody(kind, values):
    output = await folded(kind, values)
    assert json.loads(json.dumps(output)) == output
    assert fold(kind).calls_max(0) == fold(kind).calls_max(1) == 0


def test_an_unknown_fold_names_those_there_are():
    with pytest.raises(UnknownKind, match="list, concat"):
        fold("dice")
