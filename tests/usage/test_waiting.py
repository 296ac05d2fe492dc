"""The dangers of a batch: too big for its deadline, an id twice in it, work done for somebody who left."""

import asyncio
from uuid import UUID

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.items import Item, Operation
from fanfold.usage.waiting import MAX_EVENTS, MAX_ITEMS, Waiting
from tests.usage.books import events


def _item(operation: Operation = Operation.SETTLE, *, request_id: UUID | None = None, size: int = 0) -> Item:
    return Item(
        operation=operation, tenant_id=uuid7(), request_id=request_id or uuid7(),
        period_start=period_of(utc_now()), events=events(*[1] * size),
    )  # fmt: skip


def _waiting(*items: Item) -> Waiting:
    waiting = Waiting()
    for item in items:
        waiting.append(item)
    return waiting


async def test_a_batch_has_at_most_500_items_in_order_of_arrival():
    items = [_item() for _ in range(MAX_ITEMS + 7)]
    waiting = _waiting(*items)
    assert waiting.take() == items[:MAX_ITEMS]
    assert waiting.take() == items[MAX_ITEMS:]


async def test_a_batch_has_at_most_5_000_events():
    items = [_item(size=2_000) for _ in range(3)]
    waiting = _waiting(*items)
    assert waiting.take() == items[:2]
    assert waiting.take() == items[2:]


async def test_one_item_with_more_events_than_that_goes_alone():
    items = [_item(size=1), _item(size=MAX_EVENTS + 1), _item(size=1)]
    waiting = _waiting(*items)
    assert [waiting.take() for _ in items] == [[item] for item in items]


async def test_the_second_of_an_id_waits_for_the_next_batch():
    request = uuid7()
    first, second, third, other = *(_item(request_id=request) for _ in range(3)), _item()
    waiting = _waiting(first, second, other, third)
    assert [waiting.take() for _ in range(3)] == [[first, other], [second], [third]]


async def test_a_reserve_that_nobody_awaits_is_dropped_and_a_settle_is_not():
    reserve, settle = _item(Operation.RESERVE), _item()
    reserve.answer.cancel()
    settle.answer.cancel()
    assert _waiting(reserve, settle).take() == [settle]


async def test_a_reserve_that_may_be_written_is_not_dropped():
    reserve = _item(Operation.RESERVE)
    reserve.is_uncertain = True
    reserve.answer.cancel()
    assert _waiting(reserve).take() == [reserve]


async def test_the_consumer_wakes_for_an_item_and_for_the_end():
    waiting = Waiting()
    async with asyncio.timeout(30):
        consumer = asyncio.create_task(waiting.has_work())
        await asyncio.sleep(0)
        assert not consumer.done()
        waiting.append(_item())
        assert await consumer
        waiting.drain()
        consumer = asyncio.create_task(waiting.has_work())
        await asyncio.sleep(0)
        waiting.close()
        assert not await consumer
