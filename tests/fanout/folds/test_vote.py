import pytest

from tests.fanout.folds.folding import folded


@pytest.mark.parametrize(
    ("values", "output"),
    [
        (("spam", "ham", "spam"), "spam"),
        ((" Spam\n", "ham", "SPAM"), " Spam\n"),
        (("ham", "spam", "spam", "ham"), "ham"),
        (("好", "坏", "好"), "好"),
        (("e\u0301", "b", "\u00e9"), "e\u0301"),
        (("STRASSE", "b", "straße"), "STRASSE"),
        (({"b": 1, "a": [2]}, "x", {"a": [2], "b": 1}), {"b": 1, "a": [2]}),
        ((1, "1", "1"), "1"),
        ((None, None), None),
        ((None, "a"), "a"),
        ((True, 1, 1), 1),
    ],
)
async def test_the_answer_most_often_given_wins_and_of_a_tie_the_earliest(values, output):
    found = await folded("vote", values)
    assert (found, type(found)) == (output, type(output))
