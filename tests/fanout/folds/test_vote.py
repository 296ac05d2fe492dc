import pytest

from tests.fanout.folds.folding import folded


@pytest.mark.parametrize(
    ("values", "output"),
    [
        (("spam", "ham", "spam"), "spam"),
        (("ham", " spam\n", "spam"), " spam\n"),
        (("ham", "Spam", "SPAM"), "Spam"),
        (("ham", "spam", "spam", "ham"), "ham"),
        (("好", "坏", "好"), "好"),
        (("b", "e\u0301", "\u00e9"), "e\u0301"),
        (("b", "STRASSE", "straße"), "STRASSE"),
        (("x", {"b": 1, "a": [2]}, {"a": [2], "b": 1}), {"b": 1, "a": [2]}),
        ((1, "1", "1"), "1"),
        ((None, None), None),
        ((None, "a"), "a"),
        ((True, 1, 1), 1),
    ],
)
async def test_the_answer_most_often_given_wins_and_of_a_tie_the_earliest(values, output):
    found = await folded("vote", values)
    assert (found, type(found)) == (output, type(output))


@pytest.mark.parametrize(("marks", "output"), [(30, "a"), (32, "b")])
async def test_marks_are_put_in_order_as_many_as_a_language_has(marks, output):
    mixed = "a" + "\u0300\u0316" * (marks // 2)
    ordered = "a" + "\u0316" * (marks // 2) + "\u0300" * (marks // 2)
    found = await folded("vote", (mixed, "b", ordered, "b"))
    assert found[0] == output
