"""The dangers of a shared commit: an answer that never came, one bad neighbour, a queue without end."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from fanfold.core.errors import NotReady, Overloaded
from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import period_of, utc_now
from fanfold.usage.errors import AlreadyReserved, Rejected
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Outcome, Reservation
from tests.usage.books import Books, events, hold, hold_at_once

Fault = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class FaultyStatement:
    """A prepared statement of which each run meets the next of the faults."""

    def __init__(self, statement: Any, faults: list[Fault]) -> None:
        self._statement, self._faults = statement, faults

    async def fetchrow(self, *arguments: Any, timeout: float) -> Any:
        def run() -> Any:
            return self._statement.fetchrow(*arguments, timeout=timeout)

        return await (self._faults.pop(0)(run) if self._faults else run())


class FaultyConnection:
    """A real connection whose flushes meet faults, in their order, over all connections made."""

    def __init__(self, connection: Any, faults: list[Fault]) -> None:
        self._connection, self._faults = connection, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def prepare(self, statement: str) -> FaultyStatement:
        return FaultyStatement(await self._connection.prepare(statement), self._faults)


class Backends:
    """Connects, and remembers the server's process behind each connection."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.pids: list[int] = []

    async def connect(self) -> Any:
        connection = await self._books.connect()
        self.pids.append(connection.get_server_pid())
        return connection


def faulty(books: Books | Backends, *faults: Fault) -> Callable[[], Awaitable[Any]]:
    queue = list(faults)

    async def connect() -> FaultyConnection:
        return FaultyConnection(await books.connect(), queue)

    return connect


async def done_but_unheard(run: Callable[[], Awaitable[Any]]) -> Any:
    await run()
    raise ConnectionResetError


async def never_sent(_run: Callable[[], Awaitable[Any]]) -> Any:
    raise asyncpg.ConnectionDoesNotExistError


async def rolled_back(_run: Callable[[], Awaitable[Any]]) -> Any:
    raise asyncpg.DeadlockDetectedError


async def in_order(run: Callable[[], Awaitable[Any]]) -> Any:
    return await run()


class TestUnknownOutcome:
    async def test_a_reserve_whose_answer_was_lost_holds_once(self, books: Books):
        tenant = await books.new_tenant(100)
        async with Ledger(faulty(books, done_but_unheard, never_sent)) as ledger:
            granted, refused = await hold_at_once([ledger], tenant, times=20, units=5)
            assert (len(granted), len(refused), ledger.figures.retries) == (20, 0, 2)
        assert len(await books.rows("reservations", tenant)) == 20
        await books.check_truths(tenant)

    async def test_a_settle_whose_answer_was_lost_bills_once(self, books: Books):
        tenant = await books.new_tenant(100)
        async with Ledger(faulty(books, in_order, done_but_unheard)) as ledger:
            held = await hold(ledger, tenant, 10)
            assert (await ledger.settle(held.reservation, events(4, 5))).outcome is Outcome.SETTLED
        assert (await books.quota(tenant))["used"] == 9
        await books.check_truths(tenant)

    async def test_a_release_whose_answer_was_lost_is_released(self, books: Books):
        tenant = await books.new_tenant(100)
        async with Ledger(faulty(books, in_order, done_but_unheard)) as ledger:
            held = await hold(ledger, tenant, 10)
            assert (await ledger.settle(held.reservation, [])).outcome is Outcome.RELEASED
        assert (await books.quota(tenant))["reserved"] == 0

    async def test_a_caller_that_left_meanwhile_holds_nothing(self, books: Books):
        tenant = await books.new_tenant(100)
        leave = asyncio.Event()

        async def done_then_left(run: Callable[[], Awaitable[Any]]) -> Any:
            await run()
            leave.set()
            await asyncio.sleep(0)
            raise ConnectionResetError

        async with Ledger(faulty(books, done_then_left)) as ledger:
            caller = asyncio.create_task(hold(ledger, tenant, 5))
            await leave.wait()
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
        assert await books.rows("reservations", tenant) == []
        await books.check_truths(tenant)

    async def test_a_connection_that_was_never_made_is_no_unknown_outcome(self, books: Books):
        tenant, request = await books.new_tenant(100), uuid7()
        refuse = True

        async def connect() -> Any:
            nonlocal refuse
            refuse, refused = False, refuse
            if refused:
                raise ConnectionRefusedError
            return await books.connect()

        async with Ledger(books.connect) as other:
            await other.reserve(tenant_id=tenant, request_id=request, units=5, lease_s=60)
        async with Ledger(connect) as ledger:
            with pytest.raises(AlreadyReserved):
                await ledger.reserve(tenant_id=tenant, request_id=request, units=5, lease_s=60)

    @pytest.mark.parametrize("is_silent", [False, True])
    async def test_patience_ends(self, *, is_silent: bool):
        async def connect() -> Any:
            if is_silent:
                await asyncio.Event().wait()
            raise ConnectionRefusedError

        async with (
            asyncio.timeout(30),
            Ledger(connect, patience_s=1.5, statement_timeout_s=0.1) as ledger,
        ):
            with pytest.raises(NotReady) as refusal:
                await hold(ledger, uuid7())
        assert refusal.value.headers == {"Retry-After": "1"}
        assert ledger.figures.retries > 1


async def test_a_lane_that_has_died_leaves_nobody_waiting():
    async def connect() -> Any:
        raise asyncio.CancelledError

    async with asyncio.timeout(30), Ledger(connect) as ledger:
        for _ in range(2):
            with pytest.raises(NotReady):
                await hold(ledger, uuid7())


async def test_a_lane_that_has_died_holds_up_none_of_the_other(books: Books):
    tenant, period = await books.new_tenant(1_000), period_of(utc_now())
    is_connecting, has_died = asyncio.Event(), asyncio.Event()

    async def connect() -> Any:
        is_connecting.set()
        if not has_died.is_set():
            await has_died.wait()
            raise asyncio.CancelledError
        return await books.connect()

    async with asyncio.timeout(60), Ledger(connect) as ledger:
        first, second = (
            Reservation(tenant_id=tenant, request_id=uuid7(), period_start=period, units=1) for _ in range(2)
        )
        large = asyncio.create_task(ledger.settle(first, events(*[1] * 200)))
        async with asyncio.timeout(20):
            await is_connecting.wait()
        small = asyncio.create_task(ledger.settle(second, []))
        await _turns()
        assert ledger.queued == 1
        has_died.set()
        with pytest.raises(NotReady):
            await large
        assert (await small).outcome is Outcome.GONE


class TestOthersInTheWay:
    async def test_a_rolled_back_flush_is_repeated_whole_then_in_halves(self, books: Books):
        tenant = await books.new_tenant(100)
        async with Ledger(faulty(books, rolled_back, rolled_back)) as ledger:
            granted, _ = await hold_at_once([ledger], tenant, times=4, units=5)
            assert (len(granted), ledger.figures.flushes, ledger.figures.retries) == (4, 4, 2)
        await books.check_truths(tenant)

    async def test_a_row_locked_elsewhere_is_waited_for_beyond_one_statement(self, books: Books):
        tenant, backends = await books.new_tenant(100), Backends(books)
        async with (
            asyncio.timeout(30),
            books.superuser() as locker,
            Ledger(backends.connect, statement_timeout_s=0.7) as ledger,
        ):
            await hold(ledger, tenant, 1)
            async with locker.transaction():
                await locker.execute(
                    "select from fanfold.quota_periods where tenant_id = $1 for update", tenant
                )
                waiting = asyncio.create_task(hold(ledger, tenant, 5))
                while not ledger.figures.retries:
                    await asyncio.sleep(0.01)
            assert (await waiting).remaining == 94
        assert len(backends.pids) == 1, "the server's own time-out leaves the connection in use"

    async def test_a_server_that_falls_silent_is_left_for_a_new_connection(self, books: Books):
        tenant, backends = await books.new_tenant(100), Backends(books)
        async with asyncio.timeout(30), Ledger(backends.connect, statement_timeout_s=1.0) as ledger:
            held = await hold(ledger, tenant, 10)
            silent = backends.pids[-1]
            os.kill(silent, signal.SIGSTOP)
            try:
                assert (await ledger.settle(held.reservation, events(4))).outcome is Outcome.SETTLED
            finally:
                os.kill(silent, signal.SIGCONT)  # it finds the same settle, and nothing left to do
        assert backends.pids[-1] != silent
        await books.check_truths(tenant)

    @pytest.mark.parametrize("bad_units", [-1, 2**63])  # what the database refuses, what it cannot even read
    async def test_one_bad_item_among_many_costs_the_others_nothing(
        self, books: Books, ledger: Ledger, bad_units: int
    ):
        tenant = await books.new_tenant(100_000)
        results = await asyncio.gather(
            *(hold(ledger, tenant, bad_units if index in {17, 333} else 1) for index in range(500)),
            return_exceptions=True,
        )
        bad = [index for index, result in enumerate(results) if isinstance(result, Rejected)]
        assert bad == [17, 333]
        assert (await books.quota(tenant))["reserved"] == 498


class TestTheBound:
    async def test_refuses_reserves_and_never_settles(self, books: Books):
        tenant = await books.new_tenant(100)
        taken, gate = asyncio.Event(), asyncio.Event()

        async def connect() -> Any:
            taken.set()
            await gate.wait()
            return await books.connect()

        async with asyncio.timeout(30), Ledger(connect, max_queue=5) as ledger:
            first = asyncio.create_task(hold(ledger, tenant))
            await taken.wait()  # by the lane, which waits for its connection
            waiting = [asyncio.create_task(hold(ledger, tenant)) for _ in range(5)]
            await _turns()
            assert ledger.queued == 5
            with pytest.raises(Overloaded) as refusal:
                await hold(ledger, tenant)
            assert refusal.value.headers == {"Retry-After": "1"}
            settle = asyncio.create_task(ledger.settle(_never_made(tenant), events(1)))
            await _turns()
            assert ledger.queued == 6
            gate.set()
            await asyncio.gather(first, *waiting)
            assert (await settle).outcome is Outcome.LATE
            assert ledger.queued == 0
        await books.check_truths(tenant)


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _never_made(tenant: UUID) -> Reservation:
    return Reservation(tenant_id=tenant, request_id=uuid7(), period_start=period_of(utc_now()), units=1)
