import pytest

from fanfold.fanout.errors import UnknownKind
from fanfold.fanout.strategies.registry import STRATEGIES, strategy
from fanfold.fanout.types import Chunk
from tests.fanout.engine import upstream

A, B, C = upstream("a"), upstream("b"), upstream("c")
CHUNKS = tuple(Chunk(index, index, index + 1, "字") for index in range(7))


def assigned(kind, *upstreams):
    return [
        (chunk.index, "".join(str(one.slug) for one in candidates))
        for chunk, candidates in strategy(kind).assign(CHUNKS, upstreams)
    ]


def test_round_robin_gives_chunk_i_to_upstream_i_mod_n():
    assert assigned("round_robin", A, B, C) == list(enumerate("abcabca"))


def test_fallback_gives_every_chunk_all_in_order():
    assert assigned("fallback", B, A) == [(index, "ba") for index in range(7)]


def test_broadcast_gives_every_chunk_to_each_chunk_first():
    assert assigned("broadcast", A, B) == [(index, one) for index in range(7) for one in "ab"]


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("upstreams", [(A,), (A, B), (A, B, C)])
def test_every_strategy_covers_every_chunk_in_order_with_candidates(kind, upstreams):
    found = list(strategy(kind).assign(CHUNKS, upstreams))
    assert [chunk.index for chunk, _ in found] == sorted(chunk.index for chunk, _ in found)
    assert {chunk.index for chunk, _ in found} == set(range(7))
    assert all(candidates and {one.slug for one in candidates} <= {"a", "b", "c"} for _, candidates in found)


def test_an_unknown_strategy_names_those_there_are():
    with pytest.raises(UnknownKind, match="round_robin, weighted, least_busy, fallback, broadcast"):
        strategy("dice")
