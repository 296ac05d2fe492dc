from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.fanout.strategies.registry import strategy
from fanfold.fanout.strategies.weighted import Weighted
from fanfold.fanout.types import Chunk, Upstream
from tests.fanout.engine import upstream

CHUNKS = tuple(Chunk(index, index, index + 1, "字") for index in range(5000))


class Circuits:
    """A load in which some circuits are open."""

    def __init__(self, are_open: str = "") -> None:
        self._open = are_open

    def is_open(self, one) -> bool:
        return one.slug in self._open

    def share(self, one) -> float:
        raise AssertionError(f"how busy {one.slug} is does not matter")

    def most(self, one: Upstream) -> int:
        return one.max_concurrency


def names(upstreams) -> str:
    return "".join(one.slug for one in upstreams)


def candidates_of(weights: dict[str, int], chunks: int) -> list[str]:
    upstreams = tuple(upstream(name, weight=weight) for name, weight in weights.items())
    return [names(candidates) for _, candidates in Weighted().assign(CHUNKS[:chunks], upstreams)]


def test_it_is_the_sequence_that_nginx_gives():
    preferred = [candidates[0] for candidates in candidates_of({"a": 5, "b": 1, "c": 1}, 14)]
    assert "".join(preferred) == "aabacaa" * 2


def test_equal_weights_are_round_robin():
    assert [one[0] for one in candidates_of({"a": 7, "b": 7, "c": 7}, 6)] == list("abcabc")


def test_the_others_follow_in_turn():
    assert candidates_of({"a": 1, "b": 2, "c": 1}, 4) == ["bca", "abc", "cab", "bca"]


def test_candidates_are_shared_by_all_calls():
    upstreams = tuple(upstream(name) for name in "abc")
    assert len({id(candidates) for _, candidates in Weighted().assign(CHUNKS[:600], upstreams)}) == 3


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_of_as_many_chunks_as_all_weights_each_has_its_weight_and_nobody_is_ever_far_off(weights):
    upstreams = {chr(97 + place): weight for place, weight in enumerate(weights)}
    total = sum(weights)
    preferred = [one[0] for one in candidates_of(upstreams, total)]
    assert Counter(preferred) == upstreams
    seen: Counter[str] = Counter()
    for step, one in enumerate(preferred, start=1):
        seen[one] += 1
        assert all(
            abs(seen[name] - step * weight / total) < len(weights) for name, weight in upstreams.items()
        )


def test_the_largest_weights_spread_too():
    preferred = "".join(one[0] for one in candidates_of({"a": 1000, "b": 999}, 1999))
    assert "aaa" not in preferred
    assert "bb" not in preferred


def test_an_open_one_is_left_out_and_one_alone_is_asked():
    candidates = tuple(upstream(name) for name in "bca")
    assert names(Weighted().order(candidates, Circuits())) == "b"
    assert names(Weighted().order(candidates, Circuits("b"))) == "c"
    assert names(Weighted().order(candidates, Circuits("bc"))) == "a"
    assert names(Weighted().order(candidates, Circuits("abc"))) == "b"


class OwnersMost(Circuits):
    """A load in which an owner has at most two calls under way to each."""

    def most(self, one: Upstream) -> int:
        return min(2, one.max_concurrency)


@pytest.mark.parametrize("kind", ["fallback", "weighted"])
def test_as_many_calls_at_once_as_the_first_one_takes_and_of_one_alone_as_its_owner_may(kind: str):
    candidates = upstream("a", max_concurrency=3), upstream("b", max_concurrency=50)
    assert strategy(kind).width(candidates, OwnersMost()) == 3
    assert strategy(kind).width(candidates[:1], OwnersMost()) == 2
