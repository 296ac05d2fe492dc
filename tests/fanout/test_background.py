"""Work that nobody waits for leaves slots to what its owner waits for."""

from dataclasses import replace

import pytest

from tests.fanout.engine import ScriptedTransport, fan_out
from tests.fanout.test_fair_sharing import OWN, Gate, asked, rest, running, until


@pytest.mark.parametrize(("slots", "of_background"), [(8, 6), (4, 3), (1, 1)])
async def test_background_calls_take_three_of_four_slots(slots: int, of_background: int):
    gate = Gate()
    background = replace(asked("own", 40, max_concurrency=slots, id=OWN), is_background=True)
    async with fan_out(ScriptedTransport(gate)) as fan, running(fan, background):
        await until(lambda: len(gate.under_way) == of_background)
        await rest()
        assert (len(gate.under_way), fan.waiting) == (of_background, 0)


async def test_what_the_owner_waits_for_does_not_wait_behind_its_background():
    gate = Gate()
    background = replace(asked("own", 40, max_concurrency=8, id=OWN), is_background=True)
    async with fan_out(ScriptedTransport(gate)) as fan, running(fan, background, background):
        await until(lambda: len(gate.under_way) == 6)
        async with running(fan, asked("own", 2, max_concurrency=8, id=OWN)) as (interactive,):
            await until(lambda: len(gate.under_way) == 8)
            gate.let_go(8)
            await until(interactive.done)


async def test_all_background_of_an_owner_leaves_slots_of_the_process():
    gate = Gate()
    many = [replace(asked("own", 40, host=f"h{n}", max_concurrency=64), is_background=True) for n in range(3)]
    # 40 in flight, of which one owner may have ten.
    async with fan_out(ScriptedTransport(gate), max_in_flight=40) as fan, running(fan, *many):
        await until(lambda: len(gate.under_way) == 7)
        await rest()
        assert len(gate.under_way) == 7
        async with running(fan, asked("own", 3, host="other")):
            await until(lambda: len(gate.under_way) == 10)
