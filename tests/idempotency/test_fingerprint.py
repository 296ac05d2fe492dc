from itertools import combinations
from typing import Any

import pytest

from fanfold.core.strict_json import loads
from fanfold.idempotency.fingerprint import digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a": 1, "b": [true]}', b'{\n"b":[true],"a":1}'),
        ('{"a": "展开 👩‍👧"}'.encode(), b'{"a":"\\u5c55\\u5f00 \\ud83d\\udc69\\u200d\\ud83d\\udc67"}'),
        (b'"a\\/b"', b'"a/b"'),
    ],
)  # fmt: skip
def test_spacing_order_and_escapes_do_not_count(one: bytes, other: bytes):
    assert digest(loads(one)) == digest(loads(other))


def test_whatever_else_differs_counts():
    values: list[Any] = [
        None, True, False, 0, 1, 10**40, 1.5, "", "1", "None;", "ab", [], [[]], ["ab"], ["a", "b"], [1, "text 1:a"],
        ["text 1:a", 1], {}, {"a": "b"}, {"b": "a"}, {"a": "b", "c": []}, {"a": ["b", "c"]}, {"ab": ""}, {"a": None},
        "展", "展开", "x" * 100_000, "x" * 100_001,
    ]  # fmt: skip
    for one, other in combinations(values, 2):
        assert digest(one) != digest(other), (one, other)
