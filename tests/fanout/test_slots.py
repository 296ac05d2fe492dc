import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.fanout.slots import Need, Slots


def soon() -> float:
    return asyncio.get_running_loop().time() + 30


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_never_more_than_the_limit_and_first_come_first_served():
    slots, order, held = Slots(), [], 0

    async def hold(name: int) -> None:
        nonlocal held
        await slots.acquire("a", limit=2, deadline=soon())
        held += 1
        order.append(name)
        assert held <= 2
        await turns()
        held -= 1
        slots.release("a")

    async with asyncio.TaskGroup() as tasks:
        for name in range(50):
            tasks.create_task(hold(name))
    assert order == list(range(50))
    assert (slots.held, slots.keys) == (0, 0)


async def test_keys_do_not_wait_for_each_other():
    slots = Slots()
    await slots.acquire("a", limit=1, deadline=soon())
    await slots.acquire("b", limit=1, deadline=soon())
    assert slots.held == 2


async def test_waiting_ends_at_the_deadline_and_leaves_nothing_behind():
    slots = Slots()
    await slots.acquire("a", limit=1, deadline=soon())
    with pytest.raises(TimeoutError):
        await slots.acquire("a", limit=1, deadline=asyncio.get_running_loop().time() + 0.01)
    slots.release("a")
    assert slots.keys == 0


@pytest.mark.parametrize("release_first", [True, False])
async def test_a_waiter_cancelled_in_the_turn_of_its_hand_over_loses_no_slot(release_first: bool):
    slots = Slots()
    await slots.acquire("a", limit=1, deadline=soon())
    first = asyncio.create_task(slots.acquire("a", limit=1, deadline=soon()))
    second = asyncio.create_task(slots.acquire("a", limit=1, deadline=soon()))
    await turns()
    if release_first:
        slots.release("a")
        first.cancel()
    else:
        first.cancel()
        slots.release("a")
    await asyncio.wait([first, second], timeout=5)
    assert first.cancelled()
    assert second.done()
    assert slots.held == 1
    slots.release("a")
    assert slots.keys == 0


async def test_who_comes_with_a_higher_limit_does_not_overtake():
    slots = Slots()
    await slots.acquire("a", limit=1, deadline=soon())
    first = asyncio.create_task(slots.acquire("a", limit=1, deadline=soon()))
    await turns()
    second = asyncio.create_task(slots.acquire("a", limit=5, deadline=soon()))
    await turns()
    assert not second.done()
    slots.release("a")
    await asyncio.wait([first, second], timeout=5)
    assert slots.held == 2


async def test_a_late_farewell_does_not_touch_those_who_came_since():
    slots = Slots()
    await slots.acquire("a", limit=1, deadline=soon())
    leaving = asyncio.create_task(slots.acquire("a", limit=1, deadline=soon()))
    await turns()
    leaving.cancel()
    slots.release("a")  # nobody is left: the key vanishes, before the one who leaves has run
    await slots.acquire("a", limit=1, deadline=soon())
    await asyncio.wait([leaving], timeout=5)
    assert leaving.cancelled()
    with pytest.raises(TimeoutError):
        await slots.acquire("a", limit=1, deadline=asyncio.get_running_loop().time() + 0.01)
    assert (slots.held, slots.keys) == (1, 1)


async def test_slots_return_to_the_baseline_after_a_storm_of_cancellations():
    slots = Slots()

    async def hold(index: int) -> None:
        await slots.acquire(f"key {index % 3}", limit=1 + index % 2, deadline=soon())
        try:
            await turns(index % 5)
        finally:
            slots.release(f"key {index % 3}")

    tasks = [asyncio.create_task(hold(index)) for index in range(2000)]
    for index, task in enumerate(tasks):
        if index % 7 == 0:
            await asyncio.sleep(0)
        if index % 3:
            task.cancel()
    await asyncio.wait(tasks, timeout=20)
    assert all(task.cancelled() or task.exception() is None for task in tasks)
    assert sum(not task.cancelled() for task in tasks) >= 600
    assert (slots.held, slots.keys) == (0, 0)


async def test_what_is_free_is_taken_up_to_the_first_key_of_which_nothing_is():
    slots, needs = Slots(), [("a", 2, 2), ("b", 1, 1), ("c", 5, 5)]
    assert slots.take_free(needs, "one") == 3
    assert slots.take_free(needs, "two") == 1
    assert slots.take_free(needs, "three") == 0
    assert (slots.held_of("a"), slots.held_of("b"), slots.held_of("c")) == (2, 1, 1)
    slots.release("c", "b", "a", owner="one")
    slots.release("a", owner="two")
    assert (slots.held, slots.keys) == (0, 0)


async def test_what_is_free_is_left_to_who_waits():
    slots = Slots()
    await slots.acquire("a", owner="one", limit=1, deadline=soon())
    waiting = asyncio.create_task(slots.acquire("a", owner="two", limit=1, deadline=soon()))
    await turns()
    slots.release("a", owner="one")
    assert slots.take_free([("a", 1, 1)], "one") == 0
    await asyncio.wait([waiting], timeout=5)
    assert slots.held_by("a", "two") == 1


class Calls:
    """Calls that take, wait, give up and give back, and what each has."""

    NEEDS: tuple[tuple[Need, ...], ...] = (
        (("a", 2, 2), ("all", 3, 3)),
        (("a", 2, 1), ("all", 3, 3)),
        (("b", 3, 2), ("all", 3, 3)),
    )

    def __init__(self, *, looks: bool) -> None:
        self.slots, self._looks = Slots(), looks
        self._running: list[tuple[tuple[Need, ...], str]] = []
        self._waiting: dict[asyncio.Task[None], tuple[tuple[Need, ...], int, str]] = {}
        self.seen: list[object] = []

    async def step(self, what: str, number: int) -> None:
        if what == "take":
            needs, owner = self.NEEDS[number % 3], "xy"[number % 2]
            self._go_on(needs, self.slots.take_free(needs, owner), owner)
        elif what == "give back" and self._running:
            needs, owner = self._running.pop(number % len(self._running))
            self.slots.give_back(needs, len(needs), owner)
        elif what == "give up" and self._waiting:
            list(self._waiting)[number % len(self._waiting)].cancel()
        if self._looks:
            assert self.slots.held >= 0
        await turns()
        for task in [task for task in self._waiting if task.done()]:
            needs, held, owner = self._waiting.pop(task)
            if task.cancelled():
                self.slots.give_back(needs, held, owner)
            else:
                self._go_on(needs, held + 1, owner)
        self.seen.append((list(self._running), list(self._waiting.values())))

    def _go_on(self, needs: tuple[Need, ...], held: int, owner: str) -> None:
        if held == len(needs):
            self._running.append((needs, owner))
            return
        key, limit, own = needs[held]
        waiting = self.slots.acquire(key, owner=owner, limit=limit, owner_limit=own, deadline=soon())
        self._waiting[asyncio.create_task(waiting)] = needs, held, owner

    async def end(self) -> None:
        while self._running or self._waiting:
            await self.step("give back", 0)
            await self.step("give up", 0)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["take", "take", "give back", "give back", "give up"]), st.integers(0, 1_000)
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_what_is_left_to_the_next_call_is_to_all_others_as_if_it_was_given_back(steps):
    async def play() -> None:
        calls, looked_at = Calls(looks=False), Calls(looks=True)
        for what, number in steps:
            await calls.step(what, number)
            await looked_at.step(what, number)
        assert calls.seen == looked_at.seen
        await calls.end()
        assert (calls.slots.held, calls.slots.keys, calls.slots.waiting) == (0, 0, 0)
        await looked_at.end()

    asyncio.run(play())


async def test_a_call_with_a_lower_limit_than_others_held_takes_no_slot_that_its_like_left():
    slots, few, many = Slots(), (("a", 2, 2),), (("a", 9, 9),)
    assert [slots.take_free(needs, "one") for needs in (few, many, many)] == [1, 1, 1]
    slots.give_back(few, 1, "one")
    assert slots.take_free(few, "one") == 0
    slots.give_back(many, 1, "one")
    assert slots.take_free(few, "one") == 1


async def test_an_owner_over_its_own_limit_takes_no_slot_that_it_left():
    slots, few, many = Slots(), (("a", 9, 1),), (("a", 9, 9),)
    assert [slots.take_free(needs, "one") for needs in (few, many)] == [1, 1]
    slots.give_back(few, 1, "one")
    assert slots.take_free(few, "one") == 0


async def test_a_limit_that_others_passed_meanwhile_holds_for_what_is_left_next():
    slots, few, many = Slots(), (("a", 1, 1),), (("a", 9, 9),)
    assert slots.take_free(few, "one") == 1
    slots.give_back(few, 1, "one")
    assert slots.take_free(few, "one") == 1
    assert slots.take_free(many, "two") == 1
    slots.give_back(few, 1, "one")
    assert slots.take_free(few, "one") == 0


async def test_who_waits_is_served_in_the_step_in_which_a_call_gives_back():
    slots, needs = Slots(), (("a", 1, 1),)
    assert slots.take_free(needs, "one") == 1
    waiting = asyncio.create_task(slots.acquire("a", owner="two", limit=1, deadline=soon()))
    await turns()
    slots.give_back(needs, 1, "one")
    assert slots.take_free(needs, "one") == 0
    await asyncio.wait([waiting], timeout=5)
    assert slots.held_by("a", "two") == 1


async def test_what_was_left_is_free_for_another_owner():
    slots, needs = Slots(), (("a", 1, 1),)
    assert slots.take_free(needs, "one") == 1
    slots.give_back(needs, 1, "one")
    assert slots.take_free(needs, "two") == 1
    slots.give_back(needs, 1, "two")
    await asyncio.wait_for(slots.acquire("a", owner="three", limit=1, deadline=soon()), 5)
    assert (slots.held_of("a"), slots.held_by("a", "three"), slots.held_by("a", "two")) == (1, 1, 0)
