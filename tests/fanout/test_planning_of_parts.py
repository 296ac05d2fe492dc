"""Chunks that are planned some at a time are planned as the whole text is."""

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.core.offload import Offload
from fanfold.fanout.errors import TooManyChunks
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.planning import MAX_CALLS, make_plan, plan_chunks
from fanfold.fanout.strategies.broadcast import Broadcast
from fanfold.fanout.strategies.registry import STRATEGIES
from fanfold.fanout.types import Chunk, FanOutRequest, Price, Split
from tests.fanout.engine import KINDS, ScriptedTransport, fan_out, request, text_of, upstream

PRICED = Price(units_per_call=3, units_per_1k_chars=7, units_per_1k_input_tokens=900)
PROMPT = "{index} of {total}: {chunk}"


@given(
    strategy=st.sampled_from(sorted(STRATEGIES)),
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    length=st.integers(1, 60),
    cuts=st.sets(st.integers(1, 59)),
)
def test_every_strategy_asks_whom_it_asks_for_the_whole_and_at_the_same_price(
    strategy, weights, length, cuts
):
    upstreams = tuple(
        upstream(f"u{place}", weight=weight, price=PRICED) for place, weight in enumerate(weights)
    )
    asked = FanOutRequest(
        text="文字a" * length, upstreams=upstreams, strategy=strategy, split=Split(size=3), prompt=PROMPT
    )
    whole = make_plan(asked, KINDS, max_chunks=None)
    bounds = [0, *sorted(cut for cut in cuts if cut < length), length]
    parts = [
        plan_chunks(asked, KINDS, whole.chunks[start:stop], whole=length) for start, stop in pairwise(bounds)
    ]
    assert tuple(call for part in parts for call in part.calls) == whole.calls
    assert sum(part.units_max for part in parts) == whole.units_max
    assert {part.total for part in parts} == {whole.total}


def test_the_most_calls_hold_for_the_whole():
    far = tuple(Chunk(place, 0, 1, "x") for place in range(MAX_CALLS - 1, MAX_CALLS + 1))
    asked = request(1)
    assert plan_chunks(asked, KINDS, far[:1], whole=MAX_CALLS).calls[0].index == MAX_CALLS - 1
    with pytest.raises(TooManyChunks):
        plan_chunks(asked, KINDS, far, whole=MAX_CALLS)


async def test_a_prompt_says_how_many_chunks_the_whole_has():
    transport = ScriptedTransport()
    asked = FanOutRequest(text="", upstreams=(upstream(),), prompt=PROMPT)
    async with fan_out(transport) as fan:
        plan = await fan.plan_chunks(asked, (Chunk(41, 0, 1, "字"),), whole=99)
        async with fan.open(plan) as run:
            async for _ in run:
                pass
            answer = run.answer()
    assert [text_of(sent) for sent in transport.requests] == ["41 of 99: 字"]
    assert [result.index for result in answer.results] == [41]


@pytest.mark.parametrize(
    ("index", "letters", "upstreams", "words", "offloaded"),
    [
        (0, 10, 1, 10, False),
        (501, 10, 1, 10, True),
        (0, 20_001, 1, 10, True),
        (0, 10, 501, 10, True),
        (0, 10, 1, 20_001, True),
    ],
)
async def test_only_long_planning_takes_a_thread(index, letters, upstreams, words, offloaded):
    threads = []

    class Watched(Broadcast):
        def assign(self, chunks, candidates):
            threads.append(threading.current_thread())
            return super().assign(chunks, candidates)

    offload = Offload(threads=1, queue=1)
    kinds = Kinds(strategy=lambda _kind: Watched())
    asked = FanOutRequest(
        text="", upstreams=(upstream(),) * upstreams, strategy="broadcast", prompt="{chunk}".ljust(words)
    )
    async with fan_out(ScriptedTransport(), offload=offload, kinds=kinds) as fan:
        await fan.plan_chunks(asked, (Chunk(index, 0, letters, "x" * letters),), whole=MAX_CALLS)
    offload.close()
    assert {thread is not threading.main_thread() for thread in threads} == {offloaded}
