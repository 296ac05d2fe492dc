"""The dangers of at least once: a message lost with a crash, sent twice without one, or stuck behind a broken one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from asyncpg import DivisionByZeroError

from fanfold.outbox.relay import Relay, RelayLimits
from fanfold.outbox.types import Handler, Message, Schedule
from tests.outbox.box import Box

FAST = Schedule(first_s=0.01, longest_s=0.02, most_attempts=3)
LIMITS = RelayLimits(poll_s=0.02, most=4)


class Inbox:
    """A handler that remembers, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[Any] = []
        self._failures = failures

    async def __call__(self, message: Message) -> None:
        self.got.append(message.payload.get("n"))
        if len(self.got) <= self._failures:
            raise ConnectionError


def relay(box: Box, handler: Handler, *, limits: RelayLimits = LIMITS, connect: Any = None) -> Relay:
    return Relay(connect or box.connect, {box.topic: handler}, limits=limits, schedule=FAST)


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in relays]
        yield
        for task in tasks:
            task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def until_empty(box: Box) -> None:
    while await box.rows():
        await asyncio.sleep(0.01)


async def test_delivered_once_in_the_order_in_which_it_was_due_and_gone(box: Box):
    for n, due in enumerate((-1, -9, -5)):
        await box.put(due_in_s=due, n=n)
    inbox = Inbox()
    one_at_a_time = RelayLimits(poll_s=0.02, most=1)
    mine = relay(box, inbox, limits=one_at_a_time)
    async with running(mine):
        await until_empty(box)
    assert inbox.got == [1, 2, 0]
    assert (mine.delivered, mine.failed, mine.dead, mine.failures) == (3, 0, 0, 0)


async def test_a_message_carries_who_what_and_which_claim(box: Box):
    message = await box.put(text="配额 80 % 🎏")
    found: asyncio.Queue[Message] = asyncio.Queue()
    async with running(relay(box, found.put)):
        got = await found.get()
        await until_empty(box)
    assert (got.id, got.topic, got.attempts, got.payload) == (message, box.topic, 1, {"text": "配额 80 % 🎏"})


async def test_a_topic_without_a_handler_stays_as_it_is(box: Box):
    await box.put()
    inbox = Inbox()
    other = Box(box.database, f"{box.topic}.other")
    await other.put(n=1)
    async with running(relay(other, inbox)):
        await until_empty(other)
    (row,) = await box.rows()
    assert (row["attempts"], row["leased_until"]) == (0, None)


async def test_what_fails_comes_again_and_is_counted(box: Box):
    await box.put(n=7)
    inbox = Inbox(failures=2)
    mine = relay(box, inbox)
    async with running(mine):
        await until_empty(box)
    assert inbox.got == [7, 7, 7]
    assert (mine.delivered, mine.failed, mine.dead) == (1, 2, 0)


async def test_a_poisoned_message_dies_and_keeps_nobody_waiting(box: Box):
    await box.put(due_in_s=-60, poison=True)
    delivered: list[int] = []

    async def handle(message: Message) -> None:
        if "poison" in message.payload:
            raise ValueError
        delivered.append(message.payload["n"])

    for n in range(6):
        await box.put(n=n)
    mine = relay(box, handle)
    async with running(mine):
        await until(lambda: mine.dead == 1)
        await until(lambda: mine.delivered == 6)
        await box.put(n=6)
        await until(lambda: mine.delivered == 7)
    assert sorted(delivered) == list(range(7))
    (row,) = await box.rows()
    assert (row["attempts"], row["dead_at"] is None) == (3, False)
    assert mine.failed == 3


async def test_a_message_that_ends_its_process_each_time_dies_without_being_handed_out(box: Box):
    await box.put()
    await box.change("update fanfold.outbox set attempts = 3 where topic = $1", box.topic)
    inbox = Inbox()
    mine = relay(box, inbox)
    async with running(mine):
        await until(lambda: mine.dead == 1)
    assert inbox.got == []


async def test_a_handler_that_hangs_is_ended_before_its_lease_and_holds_up_nobody(box: Box):
    delivered = asyncio.Event()

    async def handle(message: Message) -> None:
        if message.payload.get("hangs"):
            await asyncio.sleep(3600)
        delivered.set()

    await box.put(due_in_s=-60, hangs=True)
    mine = relay(box, handle, limits=RelayLimits(poll_s=0.02, most=2, deadline_s=0.2))
    async with running(mine):
        await until(lambda: mine.failed == 1)
        await box.put()
        await delivered.wait()
        await until(lambda: mine.dead == 1)
    assert mine.delivered == 1


async def test_a_deadline_beyond_the_lease_is_refused():
    with pytest.raises(ValueError, match="before its lease"):
        RelayLimits(lease_s=10, deadline_s=10)


async def test_killed_between_handler_and_done_it_is_delivered_again_by_another(box: Box):
    await box.put(n=1)
    first, second = Inbox(), Inbox()
    # It handles, and dies before it can tell: rounds end handlers only at their next turn.
    dying = relay(box, first)
    await dying.round()
    await until(lambda: first.got == [1])
    async with running(relay(box, second)):
        await asyncio.sleep(0.1)
        assert second.got == []  # the lease of the dead one still holds
        await box.end_leases()
        await until_empty(box)
    assert (first.got, second.got) == ([1], [1])
    await dying.round()  # who comes back late ends nothing that is not its own
    await dying._stop()
    assert dying.delivered == 0


async def test_two_share_the_work_and_neither_does_the_others(box: Box):
    got: tuple[list[int], list[int]] = [], []
    both = asyncio.Event()

    def sharing(mine: list[int]) -> Handler:
        async def handle(message: Message) -> None:
            mine.append(message.payload["n"])
            if all(got):
                both.set()
            await both.wait()  # whoever was first leaves something to the other

        return handle

    relays = [relay(box, sharing(mine)) for mine in got]
    for n in range(60):
        await box.put(n=n)
    async with running(*relays):
        await until_empty(box)
    assert sorted(got[0] + got[1]) == list(range(60))
    assert all(each.delivered for each in relays)


async def test_no_more_than_its_limit_at_once(box: Box):
    running_now, most = 0, 0

    async def handle(_message: Message) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.02)
        running_now -= 1

    for _ in range(20):
        await box.put()
    async with running(relay(box, handle)):
        await until_empty(box)
    assert most == LIMITS.most


async def test_a_nudge_is_sooner_than_the_next_look(box: Box):
    inbox = Inbox()
    mine = relay(box, inbox, limits=RelayLimits(poll_s=3600))
    async with running(mine):
        await until(lambda: mine._wake.is_set() is False)
        await asyncio.sleep(0.2)  # it has looked, and waits for an hour
        await box.put(n=1)
        mine.nudge()
        await until_empty(box)
    assert inbox.got == [1]


async def test_a_database_that_is_away_is_met_again_and_loses_nothing(box: Box):
    refusals = 3

    async def connect() -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise ConnectionRefusedError
        return await box.connect()

    await box.put(n=1)
    inbox = Inbox()
    mine = relay(box, inbox, connect=connect)
    async with running(mine):
        await until_empty(box)
    assert (inbox.got, mine.failures) == ([1], 3)


async def test_a_connection_that_answers_nothing_but_errors_is_replaced(box: Box):
    connections: list[Any] = []

    async def connect() -> Any:
        connections.append(await box.connect())
        if len(connections) == 1:
            await connections[0].execute("begin")
            with suppress(DivisionByZeroError):
                await connections[0].execute("select 1 / 0")
        return connections[-1]

    await box.put(n=1)
    inbox = Inbox()
    mine = relay(box, inbox, connect=connect)
    async with running(mine):
        await until_empty(box)
    assert (inbox.got, mine.failures, len(connections)) == ([1], 1, 2)


async def test_away_between_handler_and_done_it_is_ended_when_the_database_is_back(box: Box):
    connections: list[Any] = []

    async def connect() -> Any:
        connections.append(await box.connect())
        return connections[-1]

    inbox = Inbox()
    await box.put(n=1)
    mine = relay(box, inbox, connect=connect)
    await mine.round()
    await until(lambda: inbox.got == [1])
    connections[0].terminate()
    async with running(mine):
        await until_empty(box)
    assert inbox.got == [1]
    assert (mine.delivered, len(connections)) == (1, 2)


async def test_a_stop_lets_the_handler_end_and_writes_that_it_did(box: Box):
    begun, ended = asyncio.Event(), []

    async def handle(_message: Message) -> None:
        begun.set()
        await asyncio.sleep(0.1)
        ended.append(True)

    await box.put()
    async with running(relay(box, handle)):
        await begun.wait()
    assert (ended, await box.rows()) == ([True], [])


async def test_the_dead_go_after_their_days(box: Box):
    message = await box.put()
    await box.change("update fanfold.outbox set dead_at = now() - interval '31 days' where id = $1", message)
    async with running(relay(box, Inbox())):
        await until_empty(box)


def test_pauses_double_to_a_bound_and_are_spread():
    schedule = Schedule()
    assert [schedule.pause_s(n, 0) for n in (1, 2, 3, 12, 13, 24, 10_000)] == [
        1,
        2,
        4,
        2048,
        3600,
        3600,
        3600,
    ]
    assert schedule.pause_s(3, 1) == 2
