"""Callers are woken once the next flush is under way. The dangers: a server that idles, a grant that nobody holds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.group_commit import GroupCommit
from fanfold.usage.items import Item, Operation
from fanfold.usage.ledger import Ledger
from fanfold.usage.waiting import MAX_ITEMS
from tests.usage.books import Books, hold
from tests.usage.test_group_commit import faulty


async def test_the_next_flush_is_sent_before_the_callers_of_the_last_are_woken(books: Books):
    tenant, woken = await books.new_tenant(10_000), []

    async def note(run: Callable[[], Awaitable[Any]]) -> Any:
        woken.append(sum(item.answer.done() for item in items))
        return await run()

    items = [
        Item(
            operation=Operation.RESERVE, tenant_id=tenant, request_id=uuid7(),
            period_start=period_of(utc_now()), units=1, lease_s=60,
        )
        for _ in range(MAX_ITEMS + 1)
    ]  # fmt: skip
    lane = GroupCommit(faulty(books, note, note), max_queue=5_000, patience_s=15, statement_timeout_s=5)
    lane.start()
    answers = await asyncio.gather(*(lane.reserve(item) for item in items))
    await lane.close()
    assert woken == [0, 0]
    assert [answer.remaining for answer in answers] == list(reversed(range(10_000 - len(items), 10_000)))


async def test_what_a_caller_left_is_given_back_also_while_the_lane_closes(books: Books):
    tenant, sent = await books.new_tenant(100), asyncio.Event()
    callers: list[asyncio.Task[Any]] = []

    async def left_meanwhile(run: Callable[[], Awaitable[Any]]) -> Any:
        sent.set()
        columns = await run()
        callers[0].cancel()
        await asyncio.sleep(0)
        return columns

    async with Ledger(faulty(books, left_meanwhile)) as ledger:
        callers.append(asyncio.create_task(hold(ledger, tenant, 5)))
        await sent.wait()
    assert callers[0].cancelled()
    assert await books.rows("reservations", tenant) == []
    await books.check_truths(tenant)


@pytest.mark.parametrize("is_answered", [False, True])
async def test_what_a_caller_left_is_given_back_at_once(books: Books, *, is_answered: bool):
    """While its flush is under way, or answered and not yet told: the next flush, or the one after, gives it back."""
    tenant, sent = await books.new_tenant(100), asyncio.Event()
    callers: list[asyncio.Task[Any]] = []

    async def another_came(run: Callable[[], Awaitable[Any]]) -> Any:
        sent.set()
        columns = await run()
        callers.append(asyncio.create_task(hold(ledger, tenant, 7)))
        if not is_answered:
            callers[0].cancel()
        await asyncio.sleep(0)
        return columns

    async def left(run: Callable[[], Awaitable[Any]]) -> Any:
        callers[0].cancel()
        return await run()

    async with Ledger(faulty(books, another_came, left)) as ledger:
        callers.append(asyncio.create_task(hold(ledger, tenant, 5)))
        await sent.wait()
        await asyncio.wait(callers)
        await callers[1]
    assert callers[0].cancelled()
    assert ledger.figures.flushes == (3 if is_answered else 2)
    assert [row["units"] for row in await books.rows("reservations", tenant)] == [7]
    await books.check_truths(tenant)
