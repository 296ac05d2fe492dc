import json
from typing import Any

import pytest

from fanfold.fanout.errors import FoldFailed
from fanfold.fanout.types import ErrorCode
from tests.fanout.folds.folding import folded, results


@pytest.mark.parametrize(
    ("values", "output"),
    [
        ((["一"], [], ["二", 3]), ["一", "二", 3]),
        (({"a": 1, "b": [1]}, {"b": [2], "c": "👩‍🚀"}), {"a": 1, "b": [1, 2], "c": "👩‍🚀"}),
        (({"a": {"x": 1, "z": [0]}}, {"a": {"y": 2, "z": [1]}}), {"a": {"x": 1, "y": 2, "z": [0, 1]}}),
        (({"a": 1}, {"a": {"b": 2}}, {"a": [3]}), {"a": [3]}),
        (({"a": [1]}, {"a": None}), {"a": None}),
        (([1], None, [2]), [1, 2]),
        ((None, None), None),
        (({},), {}),
    ],
)
async def test_arrays_are_joined_and_objects_merged_in_order(values, output):
    assert await folded("merge", values) == output


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [2]}',
        ' \n{"a": [2]}\n',
        '```json\n{"a": [2]}\n```',
        '\n```\n{"a": [2]}```\n',
        '```JSON\n{"a":\n[2]}\n```',
    ],
)
async def test_a_text_counts_as_the_json_it_holds(text):
    assert await folded("merge", ({"a": [1]}, text)) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (([1], {"a": 1}), 1),
        (({"a": 1}, None, [1]), 2),
        (("text",), 0),
        (([1], "Here you are: [2]"), 1),
        (([1], "[" * 200 + "]" * 200), 1),
        ((7, 7), 0),
        (([1], "null"), 1),
        (([1], True), 1),
    ],
)
async def test_what_cannot_be_merged_is_named_by_its_index(values, index):
    with pytest.raises(FoldFailed, match=f"index {index} is not") as failure:
        await folded("merge", values)
    assert failure.value.error.code is ErrorCode.INVALID_ANSWER


async def test_results_stay_as_they_were_answered():
    given = results({"a": {"b": [1]}, "c": [1]}, {"a": {"b": [2]}, "c": [2]})
    before = json.dumps([result.result for result in given])
    assert await folded("merge", given) == {"a": {"b": [1, 2]}, "c": [1, 2]}
    assert json.dumps([result.result for result in given]) == before


async def test_ten_thousand_answers_nested_to_the_bound_are_merged():
    deep: Any = {"n": [0]}
    for _ in range(60):
        deep = {"d": deep}
    output = await folded("merge", [deep] * 10_000)
    for _ in range(60):
        output = output["d"]
    assert output == {"n": [0] * 10_000}


@pytest.mark.parametrize("empty", ["[]", "{}"])
async def test_a_text_of_very_many_lists_or_objects_is_not_read(empty):
    def listing(count: int) -> str:
        return f"[{','.join([empty] * count)}]"

    assert len(await folded("merge", ([], listing(49_999)))) == 49_999
    for text in (listing(50_000), f"```json\n{listing(50_000)}\n```"):
        with pytest.raises(FoldFailed, match="at most 50000 lists and objects") as failure:
            await folded("merge", ([], text))
        assert failure.value.error.code is ErrorCode.TOO_LARGE
