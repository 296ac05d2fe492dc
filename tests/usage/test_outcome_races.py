"""A late settle that is half done when an operator's word comes: it is waited for, and one of the two counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fanfold.audit.types import Actor
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.usage.ledger import Ledger
from fanfold.usage.outcome_schemas import OutcomeResolve, Resolution
from fanfold.usage.outcome_service import OutcomeService
from fanfold.usage.types import Outcome, Reservation
from tests.usage.books import Books, events, hold

_WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


async def _lapsed(books: Books, ledger: Ledger, *, limit: int = 100) -> Reservation:
    held = await hold(ledger, await books.new_tenant(limit), 60, lease_s=0)
    await books.sweep()
    return held.reservation


@asynccontextmanager
async def _late_settle_in_the_middle(
    books: Books, ledger: Ledger, reservation: Reservation, units: int
) -> AsyncIterator["asyncio.Task[Outcome]"]:
    """Stop a late settle where it writes its event: it has decided, and told nobody yet. It goes on at the end."""

    async def settle() -> Outcome:
        return (await ledger.settle(reservation, events(units))).outcome

    async with books.superuser() as superuser:
        standing = superuser.transaction()
        await standing.start()
        await superuser.execute(
            "insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, "
            "quantity) values ($1, $2, 0, 'calls', $3, 0, 'billed', 1)",
            reservation.tenant_id, reservation.request_id, reservation.period_start,
        )  # fmt: skip
        task = asyncio.create_task(settle())
        await _until_waiting(books, 1)
        yield task
        await standing.rollback()


async def _until_waiting(books: Books, count: int) -> None:
    async with books.superuser() as watcher, asyncio.timeout(20):
        while await watcher.fetchval(_WAITING) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("word", ["waived", "billed"])
async def test_the_settle_was_first(books: Books, ledger: Ledger, word: str):
    reservation = await _lapsed(books, ledger)
    async with _late_settle_in_the_middle(books, ledger, reservation, 7) as settle:
        resolving = asyncio.create_task(books.resolve(reservation, word, 5))
        await _until_waiting(books, 2)
        assert not resolving.done()
    assert await settle is Outcome.LATE
    assert await resolving == "resolved"
    (outcome,) = await books.rows("outcomes", reservation.tenant_id)
    assert (outcome["resolution"], outcome["resolved_units"]) == ("settled", 7)
    assert (await books.quota(reservation.tenant_id))["used"] == 7
    await books.check_truths(reservation.tenant_id)


async def test_what_has_become_unbilled_meanwhile_is_looked_at_again(books: Books, ledger: Ledger):
    """An operator saw 60 units held; by the time of the word it is known that 41 would have been due."""
    reservation = await _lapsed(books, ledger)
    await hold(ledger, reservation.tenant_id, 60)
    async with _late_settle_in_the_middle(books, ledger, reservation, 41) as settle:
        resolving = asyncio.create_task(books.resolve(reservation, "waived", 0))
        await _until_waiting(books, 2)
    assert await settle is Outcome.UNBILLED
    assert await resolving == "resolved"
    assert await books.resolve(reservation, "billed", 42) == "excessive"
    assert await books.resolve(reservation, "billed", 40) == "ok"
    await books.check_truths(reservation.tenant_id)


@asynccontextmanager
async def _deadlocked(books: Books, reservation: Reservation) -> AsyncIterator[None]:
    """Be in the way as a first flush may be: it makes the tenant's balance, then waits for the period's row."""

    async def be_in_the_way() -> None:
        async with books.superuser() as superuser:
            standing = superuser.transaction()
            await standing.start()
            # Who looks for a deadlock first gives way: the word.
            await superuser.execute("set local deadlock_timeout = '60s'")
            await superuser.execute(
                "insert into fanfold.prepaid_balances (tenant_id) values ($1)", reservation.tenant_id
            )
            is_there.set()
            await _until_waiting(books, 1)
            await superuser.execute(
                "select from fanfold.quota_periods where tenant_id = $1 for no key update",
                reservation.tenant_id,
            )
            await standing.rollback()

    is_there = asyncio.Event()
    task = asyncio.create_task(be_in_the_way())
    await is_there.wait()
    yield
    await task


async def test_a_word_that_is_in_a_deadlock_is_given_again(books: Books, ledger: Ledger):
    reservation = await _lapsed(books, ledger)
    await books.grant(reservation.tenant_id, 10)
    wanted = OutcomeResolve(resolution=Resolution.BILLED, units=5, reason="核对过")
    async with Database(books.database.app_url) as database, _deadlocked(books, reservation):
        resolved = await OutcomeService(database).resolve(
            reservation.tenant_id,
            reservation.request_id,
            wanted,
            actor=Actor(kind="operator_key", id=uuid7()),
        )
    assert (resolved.resolution, resolved.resolved_units) == ("billed", 5)
    await books.check_truths(reservation.tenant_id)
