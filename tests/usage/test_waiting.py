"""The dangers of a batch: too big for its deadline, an id twice in it, work done for somebody who left, rows of two."""

import asyncio
import time
from uuid import UUID

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage import bell
from fanfold.usage.bell import MOST_S, TURNS
from fanfold.usage.items import LARGE_EVENTS, Item, Operation, Size
from fanfold.usage.waiting import MAX_EVENTS, MAX_ITEMS, Waiting
from tests.usage.books import events

LARGE = LARGE_EVENTS + 1


def _item(
    operation: Operation = Operation.SETTLE,
    *,
    tenant_id: UUID | None = None,
    request_id: UUID | None = None,
    size: int = 0,
) -> Item:
    return Item(
        operation=operation, tenant_id=tenant_id or uuid7(), request_id=request_id or uuid7(),
        period_start=period_of(utc_now()), events=events(*[1] * size),
    )  # fmt: skip


def _waiting(*items: Item) -> Waiting:
    waiting = Waiting()
    for item in items:
        waiting.append(item)
    return waiting


def _batches(waiting: Waiting, size: Size, count: int) -> list[list[Item]]:
    """Take so many batches, each after the one before is written."""
    batches = []
    for _ in range(count):
        batches.append(waiting.take(size))
        waiting.done(size)
    return batches


class TestBatch:
    async def test_has_at_most_500_items_in_order_of_arrival(self):
        items = [_item() for _ in range(MAX_ITEMS + 7)]
        assert _batches(_waiting(*items), Size.SMALL, 2) == [items[:MAX_ITEMS], items[MAX_ITEMS:]]

    async def test_has_at_most_1_000_events(self):
        small = [_item(size=LARGE_EVENTS) for _ in range(11)]
        large = [_item(size=MAX_EVENTS // 2) for _ in range(3)]
        waiting = _waiting(*small, *large)
        assert _batches(waiting, Size.SMALL, 2) == [small[:10], small[10:]]
        assert _batches(waiting, Size.LARGE, 2) == [large[:2], large[2:]]

    async def test_one_item_with_more_events_than_that_goes_alone(self):
        items = [_item(size=LARGE), _item(size=MAX_EVENTS + 1), _item(size=LARGE)]
        assert _batches(_waiting(*items), Size.LARGE, 3) == [[item] for item in items]

    async def test_the_second_of_an_id_waits_for_the_next_one(self):
        request = uuid7()
        first, second, third, other = *(_item(request_id=request) for _ in range(3)), _item()
        waiting = _waiting(first, second, other, third)
        assert _batches(waiting, Size.SMALL, 3) == [[first, other], [second], [third]]

    async def test_a_reserve_that_nobody_awaits_is_dropped_and_a_settle_is_not(self):
        reserve, settle = _item(Operation.RESERVE), _item()
        reserve.answer.cancel()
        settle.answer.cancel()
        assert _waiting(reserve, settle).take(Size.SMALL) == [settle]

    async def test_a_reserve_that_may_be_written_is_not_dropped(self):
        reserve = _item(Operation.RESERVE)
        reserve.is_uncertain = True
        reserve.answer.cancel()
        assert _waiting(reserve).take(Size.SMALL) == [reserve]


class TestTenantsInOneBatchAtATime:
    async def test_who_is_behind_a_large_one_of_its_tenant_waits_and_others_do_not(self):
        tenant = uuid7()
        before, large, behind, other = (
            _item(tenant_id=tenant),
            _item(tenant_id=tenant, size=LARGE),
            _item(tenant_id=tenant),
            _item(),
        )
        waiting = _waiting(before, large, behind, other)
        assert waiting.take(Size.SMALL) == [before, other]
        assert waiting.take(Size.LARGE) == []
        waiting.done(Size.SMALL)
        assert waiting.take(Size.LARGE) == [large]
        assert waiting.take(Size.SMALL) == []
        waiting.done(Size.LARGE)
        assert waiting.take(Size.SMALL) == [behind]

    async def test_a_large_one_that_waits_for_its_tenant_holds_no_other_up(self):
        tenant = uuid7()
        small, large, behind, other = (
            _item(tenant_id=tenant),
            _item(tenant_id=tenant, size=LARGE),
            _item(tenant_id=tenant, size=LARGE),
            _item(size=LARGE),
        )
        waiting = _waiting(small, large, behind, other)
        assert waiting.take(Size.SMALL) == [small]
        assert waiting.take(Size.LARGE) == [other]
        waiting.done(Size.SMALL)
        waiting.done(Size.LARGE)
        assert waiting.take(Size.LARGE) == [large, behind]

    async def test_what_comes_later_waits_for_the_batch_that_is_under_way(self):
        tenant = uuid7()
        waiting = _waiting(large := _item(tenant_id=tenant, size=LARGE))
        assert waiting.take(Size.LARGE) == [large]
        later, large_too, other = (
            _item(tenant_id=tenant),
            _item(tenant_id=tenant, size=LARGE),
            _item(),
        )
        for item in (later, large_too, other):
            waiting.append(item)
        assert waiting.take(Size.SMALL) == [other]
        waiting.done(Size.SMALL)
        waiting.done(Size.LARGE)
        assert waiting.take(Size.LARGE) == []
        assert waiting.take(Size.SMALL) == [later]


@pytest.fixture
def no_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn of the loop is long: the host may stand still in the middle of one."""
    monkeypatch.setattr(bell, "MOST_S", 60.0)


class TestConsumers:
    async def test_wake_for_an_item_of_theirs_and_for_the_end(self):
        waiting = Waiting()
        async with asyncio.timeout(30):
            small, large = (asyncio.create_task(waiting.batch(size)) for size in Size)
            await _rest()
            waiting.append(item := _item())
            assert await small == [item]
            await _rest()
            assert not large.done()
            waiting.close()
            assert await large == []
            assert await waiting.batch(Size.SMALL) == []

    @pytest.mark.usefixtures("no_other_work")
    async def test_take_those_along_who_come_in_the_next_turns_of_the_loop(self):
        waiting = Waiting()
        async with asyncio.timeout(30):
            small = asyncio.create_task(waiting.batch(Size.SMALL))
            await _rest()
            items = [_item() for _ in range(3)]
            for item in items:
                waiting.append(item)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert await small == items

    async def test_wake_when_the_other_is_done_also_at_the_end(self):
        tenant = uuid7()
        waiting = _waiting(_item(tenant_id=tenant, size=LARGE), behind := _item(tenant_id=tenant))
        waiting.take(Size.LARGE)
        async with asyncio.timeout(30):
            small = asyncio.create_task(waiting.batch(Size.SMALL))
            waiting.close()
            await _rest()
            assert not small.done()
            waiting.done(Size.LARGE)
            assert await small == [behind]

    async def test_wake_when_what_they_waited_behind_is_dropped_and_end(self):
        tenant = uuid7()
        waiting = _waiting(
            left := _item(Operation.RESERVE, tenant_id=tenant, size=LARGE), behind := _item(tenant_id=tenant)
        )
        async with asyncio.timeout(30):
            small = asyncio.create_task(waiting.batch(Size.SMALL))
            await _rest()
            left.answer.cancel()
            large = asyncio.create_task(waiting.batch(Size.LARGE))
            assert await small == [behind]
            waiting.close()
            assert await large == []

    async def test_take_what_is_theirs_of_what_remains(self):
        small, large = [_item(), _item()], [_item(size=LARGE)]
        waiting = _waiting(small[0], *large, small[1])
        assert waiting.drain(Size.SMALL) == small
        assert (waiting.drain(Size.LARGE), len(waiting)) == (large, 0)
        waiting.close()
        async with asyncio.timeout(30):
            assert [await waiting.batch(size) for size in Size] == [[], []]

    @pytest.mark.usefixtures("no_other_work")
    async def test_let_turns_pass(self):
        assert await _turns_before_a_batch(work_s=0.0) >= TURNS

    async def test_do_not_wait_for_turns_that_are_somebody_else_s_work(self):
        assert await _turns_before_a_batch(work_s=3 * MOST_S) <= 3


async def _turns_before_a_batch(*, work_s: float) -> int:
    waiting, turns = Waiting(), 0

    async def work() -> None:
        nonlocal turns
        while True:
            turns += 1
            time.sleep(work_s)
            await asyncio.sleep(0)

    taking = asyncio.create_task(waiting.batch(Size.SMALL))
    await _rest()
    working = asyncio.create_task(work())
    waiting.append(_item())
    await taking
    working.cancel()
    return turns


async def _rest() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
