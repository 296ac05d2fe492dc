"""What a call under way holds of its body is the body."""

import tracemalloc

import pytest

from fanfold.fanout.adapters.json_exchange import written
from fanfold.fanout.template import compiled
from fanfold.fanout.types import Prompt

CALLS = 100
MOST_BYTES = 1_000  # orjson's own bytes would hold 4,097


@pytest.mark.parametrize(
    "make", [lambda: written({"text": "折"}), lambda: compiled({"text": "{chunk}"}).write(Prompt("折", 0, 1))]
)
def test_a_short_body_holds_no_more_than_it_says(make) -> None:
    tracemalloc.start()
    try:
        made = [make() for _ in range(CALLS)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made == [b'{"text":"\xe6\x8a\x98"}'] * CALLS
    assert held / CALLS < MOST_BYTES
