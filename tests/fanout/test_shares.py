"""Slots are shared by owner: judged after every step beside the rule itself, in words as short as they can be."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.fanout.shares import Shares, Ticket

WEIGHTS = {"a": 1, "b": 4, "c": 16, "d": 1}
LIMIT = 8


class Judge:
    """Owners that take, leave and give back; it says after every step who must hold what."""

    def __init__(self, *, limit: int = LIMIT, owner_limit: int = LIMIT) -> None:
        self.shares, self.limit, self.owner_limit = Shares(), limit, owner_limit
        self.held: Counter[str] = Counter()
        self.waiting: list[tuple[str, Ticket]] = []
        self.granted: list[tuple[str, Ticket | None]] = []
        self.turns: dict[str, float] = {}
        self.turn = 0.0

    def step(self, what: str, number: int) -> None:
        if what == "take":
            self.take("abcd"[number % 4])
        elif what == "give_back" and self.granted:
            self.give_back(number)
        elif what.startswith("cancel") and self.waiting:
            self.cancel(number, is_late=what == "cancel late")
        elif what == "leave late":
            self.leave_late(number)

    def take(self, owner: str) -> None:
        free = self.held.total() < self.limit and self.held[owner] < self.owner_limit
        ticket = self.shares.take(
            owner, weight=WEIGHTS[owner], limit=self.limit, owner_limit=self.owner_limit
        )
        assert (ticket is None) == free
        if ticket is None:
            self._grant(owner, None)
        else:
            if owner not in [name for name, _ in self.waiting]:
                self.turns[owner] = self.turn + 1 / WEIGHTS[owner]
            self.waiting.append((owner, ticket))

    def give_back(self, place: int) -> None:
        owner, _ = self.granted.pop(place % len(self.granted))
        self.held[owner] -= 1
        self.shares.give_back(owner)
        self._served()

    def cancel(self, place: int, *, is_late: bool) -> None:
        """End somebody's waiting; late: the future itself was never cancelled, as at a deadline."""
        _, ticket = self.waiting.pop(place % len(self.waiting))
        if not is_late:
            ticket.future.cancel()
        self.shares.give_up(ticket)
        self._served()

    def leave_late(self, place: int) -> None:
        """Cancel somebody who was just served and has not run yet."""
        handed = [entry for entry in self.granted if entry[1] is not None]
        if handed:
            owner, ticket = entry = handed[place % len(handed)]
            self.granted.remove(entry)
            self.held[owner] -= 1
            assert ticket is not None
            self.shares.give_up(ticket)
            self._served()

    def _grant(self, owner: str, ticket: Ticket | None) -> None:
        self.granted.append((owner, ticket))
        self.held[owner] += 1

    def _served(self) -> None:
        """Work out whose turn it was by looking at all of them, and compare."""
        while self.held.total() < self.limit:
            able = [
                (self.held[owner] / WEIGHTS[owner], self.turns[owner], place)
                for place, (owner, _) in enumerate(self.waiting)
                if self.held[owner] < self.owner_limit
            ]
            if not able:
                break
            owner, ticket = self.waiting.pop(min(able)[2])
            assert ticket.future.done()
            self.turn = max(self.turn, self.turns[owner])
            self.turns[owner] += 1 / WEIGHTS[owner]
            self._grant(owner, ticket)
        self.check()

    def check(self) -> None:
        assert not any(ticket.future.done() for _, ticket in self.waiting)
        assert self.shares.held == self.held.total() <= self.limit
        assert all(self.shares.held_by(owner) == self.held[owner] <= self.owner_limit for owner in self.held)
        assert self.shares.is_idle == (not self.held.total() and not self.waiting)


def in_a_loop(function: Callable[[], None]) -> None:
    async def run() -> None:
        await asyncio.sleep(0)
        function()

    asyncio.run(run())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "give_back", "cancel", "cancel late", "leave late"]),
        st.integers(0, 10_000),
    ),
    max_size=80,
)


@given(steps=STEPS, owner_limit=st.sampled_from([1, LIMIT - 1, LIMIT]), limit=st.sampled_from([1, 3, LIMIT]))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_the_next_slot_is_of_whose_turn_it_is_and_nothing_leaks(steps, owner_limit, limit):
    def play() -> None:
        judge = Judge(limit=limit, owner_limit=owner_limit)
        for what, number in steps:
            judge.step(what, number)
            judge.check()
        while judge.waiting:
            judge.cancel(0, is_late=False)
        while judge.granted:
            judge.give_back(0)
        assert judge.shares.is_idle
        assert judge.shares.held == 0

    in_a_loop(play)


class Crowd:
    """Owners that always wait for more; calls end as the test says."""

    def __init__(self, limit: int) -> None:
        self.shares, self._limit = Shares(), limit
        self._waiting: list[tuple[str, Ticket]] = []
        self.under_way: list[str] = []

    def come(self, *owners: str) -> None:
        for owner in owners:
            ticket = self.shares.take(
                owner, weight=WEIGHTS.get(owner, 1), limit=self._limit, owner_limit=self._limit
            )
            if ticket is None:
                self.under_way.append(owner)
            else:
                self._waiting.append((owner, ticket))

    def end(self, place: int) -> str:
        """End a call; returns whose is next."""
        self.shares.give_back(self.under_way.pop(place))
        (entry,) = [entry for entry in self._waiting if entry[1].future.done()]
        self._waiting.remove(entry)
        self.under_way.append(entry[0])
        self.come(entry[0])
        return entry[0]


@given(seed=st.integers(0, 10_000), first=st.sampled_from("abcd"))
@settings(max_examples=20, deadline=None)
def test_shares_converge_to_the_weights_whoever_came_first_and_whichever_ends_first(seed, first):
    """From the time at which nobody holds from before: no owner is a slot ahead of any other, for its weight."""

    def play() -> None:
        chance, crowd = random.Random(seed), Crowd(limit=44)
        held: Counter[str] = Counter()
        crowd.come(*first * 44, *"abcd" * 44)
        for _ in range(44):
            crowd.end(0)
        for _ in range(60):
            crowd.end(chance.randrange(44))
            held = Counter(crowd.under_way)
            ahead = max((held[owner] - 1) / weight for owner, weight in WEIGHTS.items())
            assert ahead <= min(held[owner] / weight for owner, weight in WEIGHTS.items())
        assert {owner: held[owner] for owner in "abcd"} == {"a": 2, "b": 8, "c": 32, "d": 2}

    in_a_loop(play)


def test_of_a_single_slot_owners_have_turns_by_weight_and_who_comes_new_waits_for_no_backlog():
    def play() -> None:
        crowd = Crowd(limit=1)
        crowd.come(*"bbbbbb", *"aaa")
        turns = Counter(crowd.end(0) for _ in range(500))
        assert turns == {"b": 400, "a": 100}
        crowd.come("new")
        assert "new" in [crowd.end(0) for _ in range(6)]

    in_a_loop(play)


def test_who_always_comes_new_lets_the_others_have_their_turns():
    def play() -> None:
        crowd = Crowd(limit=1)
        served: Counter[str] = Counter()
        crowd.come("a", "a", "a")
        for number in range(60):
            crowd.come(f"new {number}", f"newer {number}")
            served[crowd.end(0)] += 1
        assert served["a"] >= 3

    in_a_loop(play)


async def test_who_may_not_have_more_holds_nobody_up():
    judge = Judge(limit=8, owner_limit=7)
    for owner in "b" * 100 + "a":
        judge.take(owner)
    assert (judge.held["b"], judge.held["a"]) == (7, 1)


async def test_what_is_of_the_past_takes_no_memory():
    shares, owners = Shares(), [f"owner {number}" for number in range(50)]
    for owner in owners * 40:
        shares.take(owner, weight=1, limit=50, owner_limit=50)
    for owner in owners * 10:
        shares.give_back(owner)
        assert shares.places <= 4 * (50 + 4) + 1
    assert shares.held == 50
