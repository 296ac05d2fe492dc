"""What is encoded in pieces is what would be encoded at once."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest

from fanfold.fanout.types import CallResult, Chunk, FanOutAnswer, Status, Upstream
from fanfold.processing.encoding import PIECE_BYTES, encode_beginning, encode_end
from fanfold.processing.json_pieces import json_pieces

LONG = '"\n\\👩‍🚀漢' * 40_000


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, 1.5, "", "文\n\"\\", LONG, [], {}, [1], [[], {}, "a", None],
        {"a": {"b": [1, 2], "\"": {}}, "c": 1},
    ],
)  # fmt: skip
def test_the_pieces_are_together_what_would_be_written_at_once(value):
    assert b"".join(json_pieces(value)) == orjson.dumps(value)


@pytest.mark.parametrize("value", [LONG, ["漢" * 1000] * 1000, {"a": {"b": [LONG[:900]] * 1000}}])
def test_no_piece_of_a_long_text_or_of_many_answers_is_long(value):
    assert max(map(len, json_pieces(value))) < 400_000 < len(orjson.dumps(value))


async def test_an_answer_is_put_together_piece_by_piece_with_its_output():
    answer = FanOutAnswer(status=Status.SUCCEEDED, results=(), output=LONG * 4)
    admission: Any = SimpleNamespace(id=UUID(int=7), by_address=False)
    beginning = await encode_beginning(admission, answer)
    whole = orjson.loads(b"".join(beginning) + encode_end(units=1, characters=2, remaining=None))
    assert whole["output"] == LONG * 4
    assert max(map(len, beginning)) < 2 * PIECE_BYTES < sum(map(len, beginning))


async def test_others_have_the_loop_while_many_results_are_written():
    upstream, chunk = Upstream(kind="echo", url=""), Chunk(0, 0, 1, "字")
    one = CallResult(index=0, chunk=chunk, upstream=upstream, success=True, result={"echo": "字"})
    answer = FanOutAnswer(status=Status.SUCCEEDED, results=(one,) * 2_000, output=None)
    admission: Any = SimpleNamespace(id=UUID(int=7), by_address=False)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    beginning = await encode_beginning(admission, answer)
    waiting.cancel()
    assert (b"".join(beginning).count(b'"success":true'), len(beginning)) == (2_000, 1)
    assert turns >= 20
