from collections.abc import Callable
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from fanfold.core.config import ServerSettings
from fanfold.core.requests import JsonRequest
from fanfold.core.strict_json import loads
from fanfold.idempotency.fingerprint import digest, fingerprint


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


class Threads:
    """Runs what it is given here and now, and counts it."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.runs += 1
        return function(*arguments)


@pytest.mark.parametrize(("size", "runs"), [(1_000, 0), (100_000, 1)])
async def test_a_long_body_is_read_off_the_loop(size: int, runs: int):
    threads, body = Threads(), b'"%s"' % (b"x" * size)
    app = SimpleNamespace(state=SimpleNamespace(offload=threads))
    headers = [(b"content-type", b"application/json")]

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    request = JsonRequest({"type": "http", "app": app, "headers": headers}, receive)
    await request.load(ServerSettings())
    threads.runs = 0
    assert await fingerprint(request) == digest("x" * size)
    assert threads.runs == runs


async def test_without_a_body_nothing_is_asked_for():
    assert await fingerprint(Request({"type": "http", "headers": []})) == digest(None)
