"""What a call under way holds of its body is the body."""

import tracemalloc

from fanfold.fanout.adapters.base import Defaults
from fanfold.fanout.adapters.json_exchange import post
from fanfold.fanout.types import Upstream

CALLS = 100
MOST_BYTES = 1_000  # orjson's own bytes would hold 4,097


def test_a_short_body_holds_no_more_than_it_says() -> None:
    upstream = Upstream(kind="http_json", url="https://one.example/")
    tracemalloc.start()
    try:
        made = [post(upstream, upstream.url, {"text": "折"}, defaults=Defaults()).body for _ in range(CALLS)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made == [b'{"text":"\xe6\x8a\x98"}'] * CALLS
    assert held / CALLS < MOST_BYTES
