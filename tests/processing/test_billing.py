"""What is stored comes before what is billed."""

import asyncio
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.identifiers import uuid7
from fanfold.fanout.types import CallResult, Chunk, FanOutAnswer, Meter, MeterReading, Status, Upstream
from fanfold.idempotency.service import KeptAnswers
from fanfold.idempotency.types import Kept, KeyedRequest
from fanfold.processing.billing import Billing
from fanfold.processing.encoding import encode_end
from fanfold.processing.types import Admission
from fanfold.usage.types import Mark, Outcome, Reservation, Settled
from tests.fixtures.app import SECRET
from tests.fixtures.database import TestDatabase

NOTHING = FanOutAnswer(status=Status.FAILED, results=(), output=None, fold_error=None)


class Ledger:
    """Settles everything, and remembers it."""

    def __init__(self, *, remaining: int = 9) -> None:
        self.marks: list[Mark | None] = []
        self.remaining = remaining
        self.events = 0

    async def settle(self, _reservation: Reservation, events: Any, mark: Mark | None = None) -> Settled:
        self.marks.append(mark)
        self.events = len(events)
        return Settled(Outcome.SETTLED, self.remaining)


class Answers:
    """Stores nothing for ever, or at once; `kept` is what is found afterwards."""

    def __init__(self, *, is_away: bool = False, kept: Kept | None = None) -> None:
        self.is_away, self.kept = is_away, kept
        self.stored = b""

    async def store(self, _keyed: KeyedRequest, _request_id: UUID, pieces: Any) -> None:
        if self.is_away:
            await asyncio.Event().wait()
        self.stored = b"".join(pieces)

    async def look_up(self, _keyed: KeyedRequest) -> Kept | None:
        return self.kept


def admission(*, with_key: bool = True) -> Admission:
    tenant, request = uuid7(), uuid7()
    keyed = KeyedRequest(tenant_id=tenant, route="/v1/process", key="k", body_hashes=(b"h",))
    reservation = Reservation(tenant_id=tenant, request_id=request, period_start=date(2026, 11, 1), units=1)
    plan: Any = None
    return Admission(
        id=request, plan=plan, reservation=reservation, by_address=False, keyed=keyed if with_key else None
    )


def billing(ledger: Any, answers: Any) -> Billing:
    return Billing(ledger, answers, lambda _code, _calls: None)


def within(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_what_cannot_be_stored_in_time_is_not_billed():
    ledger = Ledger()
    with pytest.raises(TimeoutError):
        await billing(ledger, Answers(is_away=True)).bill(
            admission(), NOTHING, is_whole=True, store_by=within(0.05)
        )
    assert ledger.marks == []


async def test_what_is_stored_is_marked_with_its_status():
    ledger, answers = Ledger(), Answers()
    billed = await billing(ledger, answers).bill(admission(), NOTHING, is_whole=True, store_by=within(30))
    assert ledger.marks == [Mark(route="/v1/process", key="k", status=200)]
    assert answers.stored.startswith(b'{"id":')
    assert b"".join(billed.beginning or ()) == answers.stored
    assert (billed.units, billed.remaining) == (0, 9)


async def test_without_a_key_nothing_is_stored_and_a_request_that_never_began_has_no_answer():
    for request, answer in ((admission(with_key=False), NOTHING), (admission(), None)):
        ledger, answers = Ledger(), Answers(is_away=True)
        billed = await billing(ledger, answers).bill(request, answer, is_whole=True, store_by=within(30))
        assert (ledger.marks, billed.beginning) == ([None], None)


@pytest.mark.parametrize("is_mine", [True, False])
async def test_the_figures_are_those_of_the_mark_which_a_replay_will_show(*, is_mine: bool):
    """A settle that was sent twice tells what is left at its second time."""
    request = admission()
    kept = Kept(
        request_id=request.id if is_mine else uuid7(), status=200, headers={}, units=3, remaining=4, parts=1, length=1
    )  # fmt: skip
    billed = await billing(Ledger(remaining=2), Answers(kept=kept)).bill(
        request, NOTHING, is_whole=True, store_by=within(30)
    )
    assert (billed.units, billed.remaining) == ((3, 4) if is_mine else (0, 2))


async def test_others_have_the_loop_while_many_calls_become_events():
    upstream = Upstream(id=uuid7(), slug="摘要", kind="echo", url="")
    chunk, price = Chunk(0, 0, 1, "字"), (MeterReading(Meter.CALLS, 1, 1, 1),)
    results = tuple(
        CallResult(index=index, chunk=chunk, upstream=upstream, success=True, readings=price)
        for index in range(10_000)
    )
    answer = FanOutAnswer(status=Status.SUCCEEDED, results=results, output=None, fold_error=None)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ledger, waiting = Ledger(), asyncio.create_task(others())
    billed = await billing(ledger, Answers()).bill(
        admission(with_key=False), answer, is_whole=True, store_by=within(30)
    )
    waiting.cancel()
    assert (billed.units, ledger.events) == (10_000, 10_000)
    assert turns >= 100


async def test_an_end_completes_a_beginning():
    assert encode_end(units=1, characters=2, remaining=None) == (
        b',"usage":{"units":1,"characters":2,"quota_remaining":null}}'
    )


async def test_storing_waits_for_a_database_that_is_away(database_urls: TestDatabase):
    """The only connection is taken for longer than the pool waits: the part is stored when there is one again."""
    tenant, request = uuid7(), uuid7()
    keyed = KeyedRequest(tenant_id=tenant, route="/r", key="k", body_hashes=(b"h",))
    async with Database(database_urls.app_url, pool_size=1, pool_timeout_s=0.1) as database:
        answers = KeptAnswers(database, KeyRing([SECRET]))
        async with database.session(tenant) as session:
            await session.connection()
            storing = asyncio.create_task(answers.store(keyed, request, [b"part"]))
            await asyncio.sleep(0.5)
            assert not storing.done()
        await asyncio.wait_for(storing, 30)
        await answers.store(keyed, request, [b"part"])  # as after a commit whose answer was lost
        kept = Kept(request_id=request, status=200, headers={}, units=0, remaining=0, parts=1, length=4)
        assert [part async for part in answers.read(keyed, kept)] == [b"part"]
