"""What nobody told the end of, and what could not be billed: listed, resolved once, never billed twice."""

import asyncio

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome, Reservation
from tests.usage.books import Books, events, hold


async def _lapsed(books: Books, ledger: Ledger, *, limit: int = 100, units: int = 60) -> Reservation:
    tenant = await books.new_tenant(limit)
    key = await books.new_key(tenant)
    held = await hold(ledger, tenant, units, lease_s=0, api_key_id=key)
    await books.sweep()
    return held.reservation


async def _unbilled(books: Books, ledger: Ledger) -> Reservation:
    reservation = await _lapsed(books, ledger)
    await hold(ledger, reservation.tenant_id, 90)
    assert (await ledger.settle(reservation, events(20, 20))).outcome is Outcome.UNBILLED
    return reservation


async def _outcome(books: Books, reservation: Reservation) -> tuple[object, ...]:
    (row,) = await books.rows("outcomes", reservation.tenant_id)
    assert (row["request_id"], row["api_key_id"]) == (reservation.request_id, reservation.api_key_id)
    return row["kind"], row["units"], row["resolution"], row["resolved_units"]


async def test_a_lease_that_ended_without_a_settle_is_unknown(books: Books, ledger: Ledger):
    assert await _outcome(books, await _lapsed(books, ledger)) == ("unknown", 60, None, None)


async def test_what_was_settled_in_time_is_not_listed(books: Books, ledger: Ledger):
    tenant = await books.new_tenant(100)
    held = await hold(ledger, tenant, 60, lease_s=0)
    await ledger.settle(held.reservation, events(60))
    await books.sweep()
    assert await books.rows("outcomes", tenant) == []


@pytest.mark.parametrize("units", [(), (5, 6)])
async def test_a_late_settle_ends_the_doubt(books: Books, ledger: Ledger, units: tuple[int, ...]):
    reservation = await _lapsed(books, ledger)
    await ledger.settle(reservation, events(*units))
    assert await _outcome(books, reservation) == ("unknown", 60, "settled", sum(units))


async def test_what_was_served_for_nothing_is_unbilled_and_says_what_it_would_have_cost(
    books: Books, ledger: Ledger
):
    reservation = await _unbilled(books, ledger)
    assert await _outcome(books, reservation) == ("unbilled", 40, None, None)
    rows = await books.rows("usage_events", reservation.tenant_id)
    assert [(row["units"], row["due_units"]) for row in rows] == [(0, 20), (0, 20)]


async def test_waived_nothing_is_billed_then_or_ever(books: Books, ledger: Ledger):
    reservation = await _lapsed(books, ledger)
    assert await books.resolve(reservation, "waived", 60) == "ok"
    assert (await ledger.settle(reservation, events(20))).outcome is Outcome.GONE
    assert await _outcome(books, reservation) == ("unknown", 60, "waived", 0)
    assert (await books.quota(reservation.tenant_id))["used"] == 0
    await books.check_truths(reservation.tenant_id)


async def test_billed_it_is_an_event_of_its_own_period_and_key(books: Books, ledger: Ledger):
    reservation = await _lapsed(books, ledger)
    assert await books.resolve(reservation, "billed", 33) == "ok"
    (event,) = await books.rows("usage_events", reservation.tenant_id)
    assert (event["meter"], event["units"], event["period_start"], event["api_key_id"]) == (
        "resolution",
        33,
        reservation.period_start,
        reservation.api_key_id,
    )
    assert (await ledger.settle(reservation, events(20))).outcome is Outcome.GONE
    assert await _outcome(books, reservation) == ("unknown", 60, "billed", 33)
    await books.check_truths(reservation.tenant_id)


async def test_it_is_never_billed_beyond_what_is_free(books: Books, ledger: Ledger):
    reservation = await _unbilled(books, ledger)
    assert await books.resolve(reservation, "billed", 11) == "insufficient"
    assert await _outcome(books, reservation) == ("unbilled", 40, None, None)
    await books.grant(reservation.tenant_id, 40)
    assert await books.resolve(reservation, "billed", 40) == "ok"
    await books.check_truths(reservation.tenant_id)


async def test_a_second_word_comes_too_late(books: Books, ledger: Ledger):
    reservation = await _lapsed(books, ledger)
    assert [await books.resolve(reservation, "billed", 5) for _ in range(2)] == ["ok", "resolved"]
    assert (await books.quota(reservation.tenant_id))["used"] == 5


async def test_at_once_one_word_counts(books: Books, ledger: Ledger):
    reservation = await _lapsed(books, ledger)
    words = await asyncio.gather(
        *(books.resolve(reservation, word, 5) for word in ("billed", "waived") * 4), return_exceptions=True
    )
    assert words.count("ok") == 1
    resolved = (await _outcome(books, reservation))[2]
    assert (await books.quota(reservation.tenant_id))["used"] == (5 if resolved == "billed" else 0)
    await books.check_truths(reservation.tenant_id)


async def test_at_once_with_its_late_settle_it_is_billed_once(books: Books, ledger: Ledger):
    for _ in range(10):
        reservation = await _lapsed(books, ledger)
        word, settled = await asyncio.gather(
            books.resolve(reservation, "billed", 5), ledger.settle(reservation, events(7)),
            return_exceptions=True,
        )  # fmt: skip
        used = (await books.quota(reservation.tenant_id))["used"]
        assert used == (5 if word == "ok" else 7), (word, settled)
        await books.check_truths(reservation.tenant_id)


async def test_what_is_not_there_is_missing(books: Books, ledger: Ledger):
    reservation = await _lapsed(books, ledger)
    stranger = Reservation(
        tenant_id=reservation.tenant_id, request_id=uuid7(), period_start=reservation.period_start, units=1
    )
    assert await books.resolve(stranger, "waived", 0) == "missing"
