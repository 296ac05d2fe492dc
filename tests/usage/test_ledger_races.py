"""Two at once, the one held fast in mid-flush: what is decided must still be true when it is written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import Period
from fanfold.usage.encoding import COMMIT, encode
from fanfold.usage.errors import KeyClaimed
from fanfold.usage.items import Item, Operation
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Claim, Mark, Outcome
from tests.usage.books import Books, events, hold

CLAIM = Claim(route="POST /v1/process", key="鍵", body_hash=b"one body")
MARK = Mark(route=CLAIM.route, key=CLAIM.key, status=200)
EVENING, MORNING = datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@asynccontextmanager
async def writes_wait(books: Books, table: str) -> AsyncIterator[Any]:
    """Let every write of the table wait; reading goes on. Yields what waits until somebody does."""
    async with books.superuser() as holder, books.superuser() as watcher:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(f"lock table fanfold.{table} in share mode")

        async def somebody_waits() -> None:
            async with asyncio.timeout(30):
                while not await watcher.fetchval(
                    "select count(*) from pg_locks where not granted and relation = $1::regclass",
                    f"fanfold.{table}",
                ):
                    await asyncio.sleep(0.005)

        try:
            yield somebody_waits
        finally:
            await transaction.rollback()


async def sweep(books: Books) -> None:
    async with books.app() as connection:
        await connection.execute("select fanfold.ledger_sweep(1000)")


async def resolve(books: Books, tenant: Any, request: Any, resolution: str) -> str:
    async with books.app() as connection:
        return str(
            await connection.fetchval(
                "select fanfold.outcome_resolve($1, $2, $3, 1, 'seen', $4)",
                tenant,
                request,
                resolution,
                uuid7(),
            )
        )


async def test_what_is_waived_while_a_late_settle_runs_is_not_billed(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = (await ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=5, lease_s=60)).reservation
    await books.expire(tenant)
    await sweep(books)
    async with writes_wait(books, "usage_events") as somebody_waits:
        settling = asyncio.create_task(ledger.settle(held, events(5)))
        await somebody_waits()
        waiving = asyncio.create_task(resolve(books, tenant, held.request_id, "waived"))
        await asyncio.wait([waiving], timeout=0.5)
    waived, settled = await waiving, await settling
    used = (await books.quota(tenant))["used"]
    assert (waived, settled.outcome, used) in {("ok", Outcome.GONE, 0), ("resolved", Outcome.LATE, 5)}


async def test_a_claim_taken_over_in_the_flush_of_the_late_settle_is_billed_once(
    books: Books, ledger: Ledger
):
    tenant = await books.new_tenant(100)
    first = await ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=5, lease_s=60, claim=CLAIM)
    await books.expire(tenant)
    await sweep(books)
    settling = asyncio.create_task(ledger.settle(first.reservation, events(5), MARK))
    retrying = asyncio.create_task(
        ledger.reserve(tenant_id=tenant, request_id=uuid7(), units=5, lease_s=60, claim=CLAIM)
    )
    settled, retried = await asyncio.gather(settling, retrying, return_exceptions=True)
    if isinstance(retried, BaseException):
        assert isinstance(retried, KeyClaimed), retried
        assert not isinstance(settled, BaseException)
        assert settled.outcome is Outcome.LATE
    else:
        assert not isinstance(settled, BaseException)
        assert settled.outcome is Outcome.GONE


async def test_one_key_claimed_on_both_sides_of_midnight_is_claimed_once(books: Books):
    tenant = await books.new_tenant(100)
    async with (
        Ledger(books.connect, now=lambda: EVENING) as yesterday,
        Ledger(books.connect, now=lambda: MORNING) as today,
    ):
        async with writes_wait(books, "idempotency_keys") as somebody_waits:
            asked = [
                asyncio.create_task(
                    ledger.reserve(
                        tenant_id=tenant,
                        request_id=uuid7(),
                        units=1,
                        lease_s=60,
                        period=Period.DAY,
                        claim=CLAIM,
                    )
                )
                for ledger in (yesterday, today)
            ]
            await somebody_waits()
            await asyncio.wait(asked, timeout=0.5)
        answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 1
    assert isinstance(refused[0], KeyClaimed), refused


async def test_a_retry_after_midnight_and_the_late_settle_of_before_bill_one_key_once(books: Books):
    tenant = await books.new_tenant(100)
    async with (
        Ledger(books.connect, now=lambda: EVENING) as yesterday,
        Ledger(books.connect, now=lambda: MORNING) as today,
    ):
        first = await yesterday.reserve(
            tenant_id=tenant, request_id=uuid7(), units=5, lease_s=60, period=Period.DAY, claim=CLAIM
        )
        await books.expire(tenant)
        await sweep(books)
        async with writes_wait(books, "usage_events") as somebody_waits:
            settling = asyncio.create_task(yesterday.settle(first.reservation, events(5), MARK))
            await somebody_waits()
            retrying = asyncio.create_task(
                today.reserve(
                    tenant_id=tenant, request_id=uuid7(), units=5, lease_s=60, period=Period.DAY, claim=CLAIM
                )
            )
            await asyncio.wait([retrying], timeout=0.5)
        settled, retried = await asyncio.gather(settling, retrying, return_exceptions=True)
    assert not isinstance(settled, BaseException), settled
    is_claimed = isinstance(retried, KeyClaimed)
    assert (settled.outcome, is_claimed) in {(Outcome.LATE, True), (Outcome.GONE, False)}


async def test_a_first_prepaid_grant_that_others_draw_on_in_mid_flush_refuses_nobody(books: Books):
    tenant = await books.new_tenant(10)
    key = await books.new_key(tenant)
    async with Ledger(books.connect) as one, Ledger(books.connect) as other:
        await hold(one, tenant)
        async with writes_wait(books, "key_periods") as somebody_waits:
            asked = asyncio.create_task(hold(one, tenant, api_key_id=key))
            await somebody_waits()
            await books.grant(tenant, 50)
            await hold(other, tenant, 20)
        assert (await asked).remaining == 38
    await books.check_truths(tenant)


async def test_a_key_claimed_by_a_flush_that_has_not_committed_is_claimed_once(books: Books):
    tenant = await books.new_tenant(100)
    first = Item(
        operation=Operation.RESERVE,
        tenant_id=tenant,
        request_id=uuid7(),
        period_start=EVENING.date(),
        units=1,
        lease_s=60,
        claim=CLAIM,
    )
    async with (
        Ledger(books.connect, now=lambda: MORNING) as today,
        books.app() as yesterday,
        books.superuser() as watcher,
    ):
        flush = yesterday.transaction()
        await flush.start()
        await yesterday.fetchrow(COMMIT, *encode([first]))
        asked = asyncio.create_task(hold(today, tenant, period=Period.DAY, claim=CLAIM))
        async with asyncio.timeout(30):
            while not await watcher.fetchval("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.005)
        await flush.commit()
        with pytest.raises(KeyClaimed):
            await asked
    (row,) = await books.rows("idempotency_keys", tenant)
    assert row["request_id"] == first.request_id
