"""Circuits kept apart, bounded and told of."""

from dataclasses import replace
from uuid import UUID

import pytest

from fanfold.fanout.breaker import Breaker, CircuitChange
from fanfold.fanout.circuit import Outcome
from fanfold.fanout.types import ErrorCode, Upstream

UPSTREAM = Upstream(kind="plain", url="https://up.test/", id=UUID(int=7), slug="up", timeout_s=10.0)
A, B = "tenant a", "tenant b"


class Scene:
    def __init__(self, **options) -> None:
        self.now = 0.0
        self.changes: list[CircuitChange] = []
        self.breaker = Breaker(
            clock=lambda: self.now, random=lambda: 0.0, on_change=self.changes.append, **options
        )

    def attempt(self, outcome: Outcome, owner: str | None = A, upstream: Upstream = UPSTREAM) -> None:
        assert self.breaker.refusal(owner, upstream) is None
        self.breaker.end(self.breaker.begin(owner, upstream), outcome)

    def break_it(self, owner: str | None = A, upstream: Upstream = UPSTREAM) -> None:
        for _ in range(10):
            self.now += 0.2
            self.attempt(Outcome.FAILED, owner, upstream)
        assert self.breaker.is_open(owner, upstream)


@pytest.fixture
def scene() -> Scene:
    return Scene()


class TestApart:
    def test_what_one_tenant_broke_is_open_to_the_others(self, scene):
        scene.break_it(A)
        assert not scene.breaker.is_open(B, UPSTREAM)
        assert scene.breaker.refusal(B, UPSTREAM) is None

    def test_another_upstream_is_another_circuit_and_so_is_another_address(self, scene):
        scene.break_it()
        assert not scene.breaker.is_open(A, replace(UPSTREAM, id=UUID(int=8)))
        assert not scene.breaker.is_open(A, replace(UPSTREAM, url="https://new.test/"))
        assert scene.breaker.is_open(A, replace(UPSTREAM, timeout_s=20.0))

    def test_an_address_without_id_has_one_too(self, scene):
        named = Upstream(kind="plain", url="https://named.test/")
        scene.break_it(None, named)
        assert scene.changes[0].upstream_id is None


class TestRefusal:
    def test_it_says_when_it_is_tried_again_and_is_counted(self, scene):
        scene.break_it()
        scene.now += 0.8
        error = scene.breaker.refusal(A, UPSTREAM)
        assert (error.code, error.status) == (ErrorCode.CIRCUIT_OPEN, None)
        assert "tried again in 4.2 s" in error.detail
        assert scene.breaker.refused == 1

    def test_while_it_is_tried_it_says_so(self, scene):
        scene.break_it()
        scene.now += 5.0
        ticket = scene.breaker.begin(A, UPSTREAM)
        assert "being tried just now" in scene.breaker.refusal(A, UPSTREAM).detail
        scene.breaker.end(ticket, Outcome.NOTHING)
        assert scene.breaker.refusal(A, UPSTREAM) is None

    def test_looking_is_not_counted(self, scene):
        scene.break_it()
        assert scene.breaker.is_open(A, UPSTREAM)
        assert scene.breaker.refused == 0

    def test_the_gauge_counts_those_that_refuse_now(self, scene):
        scene.break_it(A)
        scene.break_it(B)
        assert scene.breaker.open == 2
        scene.now += 5.0
        assert scene.breaker.open == 0
        ticket = scene.breaker.begin(A, UPSTREAM)
        assert scene.breaker.open == 1
        scene.breaker.end(ticket, Outcome.ANSWERED)
        assert scene.breaker.open == 0


class TestChanges:
    def test_opening_opening_again_and_closing_are_told_and_nothing_else(self, scene):
        scene.break_it()
        opened_at = scene.now
        scene.now += 5.0
        scene.attempt(Outcome.FAILED)
        scene.now += 9.0
        assert scene.breaker.is_open(A, UPSTREAM)
        scene.now += 1.0
        scene.attempt(Outcome.NOTHING)
        scene.attempt(Outcome.ANSWERED)
        scene.attempt(Outcome.ANSWERED)
        first, again, closed = scene.changes
        assert (first.owner, first.upstream_id, first.slug) == (A, UPSTREAM.id, "up")
        assert (first.opened_at, first.retry_at, first.is_first) == (opened_at, opened_at + 5, True)
        assert (again.opened_at, again.retry_at, again.is_first) == (opened_at, opened_at + 15, False)
        assert (first.is_open, closed.is_open, closed.is_first) == (True, False, False)

    def test_it_is_told_when_it_is_forgotten(self, scene):
        scene.break_it()
        assert scene.changes[0].forgotten_at == scene.now + 5 + 60 + UPSTREAM.timeout_s


class TestMemory:
    def test_100_000_keys_do_not_grow_it(self, scene):
        for number in range(100_000):
            scene.attempt(Outcome.ANSWERED, f"tenant {number}")
        assert len(scene.breaker) == 10_000
        scene.now += 31.0
        assert len(scene.breaker) == 0

    def test_open_ones_are_bounded_too(self):
        scene = Scene(max_circuits=5)
        for number in range(20):
            scene.break_it(f"tenant {number}")
        assert scene.breaker.open <= 5
        assert len(scene.breaker) <= 10

    def test_closed_ones_do_not_displace_an_open_one(self):
        scene = Scene(max_circuits=5)
        scene.break_it()
        for number in range(20):
            scene.attempt(Outcome.ANSWERED, f"tenant {number}")
        assert scene.breaker.is_open(A, UPSTREAM)

    def test_those_over_go_as_others_come(self, scene):
        for number in range(100):
            scene.attempt(Outcome.ANSWERED, f"tenant {number}")
        scene.now += 31.0
        for number in range(60):
            scene.attempt(Outcome.ANSWERED, f"other {number}")
        assert len(scene.breaker._closed) == 60

    def test_an_open_one_that_nobody_tries_is_forgotten(self, scene):
        scene.break_it()
        scene.now = scene.changes[0].forgotten_at
        assert len(scene.breaker) == 0
        scene.break_it()
        scene.now = scene.changes[-1].forgotten_at
        for _ in range(2):  # closed: more than one at a time
            scene.breaker.begin(A, UPSTREAM)
            assert not scene.breaker.is_open(A, UPSTREAM)

    def test_a_try_that_ends_after_its_circuit_was_forgotten_changes_nothing(self, scene):
        scene.break_it()
        scene.now += 5.0
        ticket = scene.breaker.begin(A, UPSTREAM)
        scene.now += 1_000.0
        scene.breaker.end(ticket, Outcome.FAILED)
        assert len(scene.breaker) == 0
        assert len(scene.changes) == 1

    def test_what_tells_nothing_takes_no_memory(self, scene):
        scene.attempt(Outcome.NOTHING)
        assert len(scene.breaker) == 0
