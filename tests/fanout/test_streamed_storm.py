"""Streamed requests that are left at any moment leave nothing behind: no task, no socket, no slot, no circuit."""

import asyncio
import random

import pytest

from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import FanOutRequest, Split, Upstream
from tests.fanout.transports.calling import LOOPBACK, eventually
from tests.fixtures.figures import Figures
from tests.token_streams import STREAMS
from tests.zoo import Zoo

REQUESTS = 500
AT_ONCE = 50
NAMES = ("good", "silent", "lingering", "endless")


@pytest.fixture
async def zoo():
    async with Zoo() as zoo:
        yield zoo


def asked(zoo: Zoo, number: int) -> FanOutRequest:
    kind = sorted(STREAMS)[number % len(STREAMS)]
    url = zoo.url(f"streams/{NAMES[number % len(NAMES)]}", ms=2, tag=number)
    one = Upstream(kind=kind, url=url, model="m", idempotent=True)
    return FanOutRequest(text="先展开，再折叠", upstreams=(one,), split=Split(size=2), deltas=True)


async def leave(fan: FanOut, request: FanOutRequest, items: int) -> int:
    """Read so many items and leave; return the units of what was accepted."""
    async with fan.open(await fan.plan(request)) as run:
        for _ in range(items):
            if await anext(run, None) is None:
                break
    return run.answer().units


async def asked_more(zoo: Zoo, calls: int) -> None:
    """Wait until so many calls more have come to the zoo."""
    enough = zoo.requests.total() + calls
    await eventually(lambda: zoo.requests.total() >= enough)


@pytest.mark.parametrize("kind", sorted(TRANSPORTS))
async def test_500_requests_left_or_cancelled_at_random_moments(zoo, kind, figures: Figures):
    dice = random.Random(11)
    made = transport(kind, guard=LOOPBACK, max_connections=200)
    over_billed = 0
    async with FanOut(transport=made) as fan:
        before = len(asyncio.all_tasks())
        for first in range(0, REQUESTS, AT_ONCE):
            tasks = {
                number: asyncio.create_task(leave(fan, asked(zoo, number), dice.randrange(12)))
                for number in range(first, first + AT_ONCE)
            }
            await asked_more(zoo, AT_ONCE)
            await asyncio.sleep(dice.random() * 0.05)
            for task in list(tasks.values())[::2]:
                task.cancel()
            await asyncio.wait(tasks.values(), timeout=0.3)
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
            over_billed += sum(
                max(0, task.result() - zoo.served_by_tag[str(number)])
                for number, task in tasks.items()
                if not task.cancelled()
            )
        slots = (fan.in_flight, fan.waiting)
        await eventually(lambda: len(asyncio.all_tasks()) - zoo.open <= before)
        left = len(asyncio.all_tasks()) - zoo.open - before
    await eventually(lambda: zoo.open == 0)
    figures(
        f"streams left early, {kind}: {REQUESTS} requests, {zoo.requests.total()} calls: tasks left {max(0, left)}, "
        f"sockets {zoo.open}, slots {sum(slots)}, over-billed {over_billed}"
    )
    assert slots == (0, 0)
    assert over_billed == 0
    assert zoo.requests.total() > REQUESTS / 2
