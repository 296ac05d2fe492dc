"""How many retries there are, and what they take of memory."""

import pytest

from fanfold.fanout.retry_budget import RetryBudgets
from fanfold.fanout.types import Upstream

UPSTREAM = Upstream(kind="plain", url="https://up.test/")
OTHER = Upstream(kind="plain", url="https://other.test/")


class Scene:
    def __init__(self, **options) -> None:
        self.now = 1000.0
        self.budgets = RetryBudgets(clock=lambda: self.now, **options)

    def taken(self, most: int = 1_000, owner: str = "a", upstream: Upstream = UPSTREAM) -> int:
        """Take retries until there is none."""
        return next((count for count in range(most) if not self.budgets.take(owner, upstream)), most)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_starts_with_a_reserve_and_counts_what_it_refuses(scene):
    assert scene.taken() == 100
    assert scene.taken() == 0
    assert scene.budgets.refused == 2


def test_five_calls_add_a_retry(scene):
    scene.taken()
    for _ in range(50):
        scene.budgets.add("a", UPSTREAM)
    assert scene.taken() in {9, 10}  # tenths of a float


def test_a_second_adds_five_and_no_more_than_the_reserve(scene):
    scene.taken()
    scene.now += 1.0
    assert scene.taken() == 5
    scene.now += 1_000.0
    assert scene.taken() == 100


def test_calls_add_no_more_than_the_reserve(scene):
    assert scene.budgets.take("a", UPSTREAM)
    for _ in range(1_000):
        scene.budgets.add("a", UPSTREAM)
    assert scene.taken() == 100


def test_each_upstream_and_owner_has_its_own(scene):
    scene.taken()
    assert scene.taken(owner="b") == scene.taken(upstream=OTHER) == 100


def test_calls_that_need_no_retry_take_no_memory(scene):
    scene.taken(upstream=OTHER)  # stands before it, and is not full
    scene.budgets.add("a", UPSTREAM)
    assert len(scene.budgets) == 1


def test_100_000_keys_do_not_grow_it(scene):
    for number in range(100_000):
        scene.budgets.take(f"tenant {number}", UPSTREAM)
    assert len(scene.budgets) == 10_000
    scene.now += 1.0
    assert len(scene.budgets) == 0


def test_those_that_are_full_again_go_as_others_come(scene):
    for number in range(100):
        scene.budgets.take(f"tenant {number}", UPSTREAM)
    scene.now += 1.0
    for number in range(60):
        scene.budgets.take(f"other {number}", UPSTREAM)
    assert len(scene.budgets._left) == 60
