"""Two ledgers on one database, as two processes have them; they are closed, killed, or cut off in mid-flush."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import asyncpg

from fanfold.core.errors import NotReady
from fanfold.core.identifiers import uuid7
from fanfold.tenants.periods import Clock, Period
from fanfold.usage.errors import AlreadyReserved, Insufficient, KeyClaimed, OverBudget, Rejected
from fanfold.usage.ledger import Ledger
from fanfold.usage.types import Claim, Mark, Reservation, UsageEvent
from tests.chaos.ledger_model import Answer, Asked, Kind
from tests.chaos.ledger_wishes import POISON
from tests.fixtures.database import TestDatabase, connect

ROUTE = "POST /v1/process"
LEASE_S = 7 * 86_400.0
_SWEEP = "select fanfold.ledger_sweep(1000)"
_RESOLVE = "select fanfold.outcome_resolve($1, $2, $3, $4, 'seen by a person', $5)"


@dataclass(slots=True)
class Line:
    """A ledger's way to the database, which can be cut: what is under way there ends unseen."""

    url: str
    is_dead: bool = False
    pids: list[int] = field(default_factory=list)
    _connections: list[Any] = field(default_factory=list)

    async def connect(self) -> Any:
        if self.is_dead:
            raise ConnectionRefusedError
        connection = await connect(self.url)
        self._connections.append(connection)
        self.pids.append(connection.get_server_pid())
        return connection

    def cut(self) -> None:
        while self._connections:
            self._connections.pop().terminate()


class Lane:
    """One process's ledger: `restart` closes it and takes a new one, `kill` takes a new one without a farewell."""

    def __init__(self, url: str, now: Clock) -> None:
        self._url, self._now = url, now

    async def start(self) -> Self:
        self.line = Line(self._url)
        self.ledger = Ledger(self.line.connect, now=self._now)
        before = asyncio.all_tasks()
        await self.ledger.__aenter__()
        self._tasks = asyncio.all_tasks() - before
        return self

    async def close(self) -> None:
        await self.ledger.__aexit__(None, None, None)

    async def kill(self) -> None:
        self.line.is_dead = True
        self.line.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def ask(self, asked: Asked) -> Answer:
        try:
            if asked.kind is Kind.RESERVE:
                return await self._reserve(asked)
            return await self._settle(asked)
        except (AlreadyReserved, KeyClaimed, NotReady) as refusal:
            return (type(refusal).__name__,)
        except Rejected as refusal:  # expected of a poisoned settle alone: another cause shows in the answer
            is_poison = isinstance(refusal.__cause__, asyncpg.CheckViolationError) and asked.is_poisoned
            return ("Rejected",) if is_poison else ("Rejected", repr(refusal.__cause__))

    async def _reserve(self, asked: Asked) -> Answer:
        claim = Claim(route=ROUTE, key=asked.claim, body_hash=b"one body") if asked.claim else None
        try:
            reserved = await self.ledger.reserve(
                tenant_id=asked.tenant,
                request_id=asked.request,
                units=asked.units,
                lease_s=LEASE_S,
                api_key_id=asked.key,
                period=Period(asked.period),
                claim=claim,
            )
        except Insufficient as short:
            return ("over-budget" if isinstance(short, OverBudget) else "insufficient", short.remaining)
        assert reserved.reservation.period_start == asked.start
        return ("reserved", reserved.remaining)

    async def _settle(self, asked: Asked) -> Answer:
        reservation = Reservation(
            tenant_id=asked.tenant,
            request_id=asked.request,
            period_start=asked.start,
            units=asked.units,
            api_key_id=asked.key,
        )
        events = [
            UsageEvent(call_index=index, meter="calls", units=units, quantity=_quantity(index), rate=units)
            for index, units in asked.events
        ]
        mark = Mark(route=ROUTE, key=asked.mark, status=200) if asked.mark else None
        settled = await self.ledger.settle(reservation, events, mark)
        warnings = settled.warnings
        return (settled.outcome.value, settled.remaining, warnings.quota, warnings.budget)


class Lanes:
    """Two ledgers (lanes 0 and 1), a sweeper (2) and a person (3), all on one database."""

    def __init__(self, database: TestDatabase, now: Clock) -> None:
        self._url, self._now, self._database = database.app_url, now, database
        self.lanes: list[Lane] = []

    async def open(self) -> Self:
        self.lanes = [await Lane(self._url, self._now).start() for _ in range(2)]
        self._sweeper, self._person = await connect(self._url), await connect(self._url)
        self.reader = await connect(self._database.superuser_url)
        return self

    async def close(self) -> None:
        for lane in self.lanes:
            await lane.close()
        for connection in (self._sweeper, self._person, self.reader):
            await connection.close()

    async def ask(self, asked: Asked) -> Answer:
        if asked.kind is Kind.SWEEP:
            return ("swept", await self._sweeper.fetchval(_SWEEP))
        if asked.kind is Kind.RESOLVE:
            return await self._resolve(asked)
        return await self.lanes[asked.lane].ask(asked)

    async def _resolve(self, asked: Asked) -> Answer:
        arguments = (asked.tenant, asked.request, asked.resolution, asked.units, uuid7())
        while True:
            try:
                return (await self._person.fetchval(_RESOLVE, *arguments),)
            except (
                asyncpg.DeadlockDetectedError
            ):  # with the first flush of a period: its row was not there to be locked
                continue

    async def ask_all(self, asked: Sequence[Asked]) -> list[Answer]:
        return await asyncio.gather(*map(self.ask, asked))

    async def ask_and_leave(
        self, asked: Sequence[Asked], leaving: Sequence[bool], after_s: float
    ) -> list[Answer]:
        """Cancel those that leave; afterwards all is written that they have left behind."""
        tasks = [asyncio.create_task(self.ask(one)) for one in asked]
        await asyncio.sleep(after_s)
        for task in (task for task, leaves in zip(tasks, leaving, strict=True) if leaves):
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self.lanes:  # one flush more: what a cancelled reserve was granted is given back in it
            await lane.ledger.settle(self._nothing, [])
        return [_told(answer) for answer in answers]

    async def ask_and_cut(
        self, asked: Sequence[Asked], lane: int, after_s: float, *, kill: bool
    ) -> list[Answer]:
        """Cut a lane off in mid-flush, or kill it; wait until the server has ended what it was doing for it."""
        tasks = [asyncio.create_task(self.ask(one)) for one in asked]
        await asyncio.sleep(after_s)
        victim = self.lanes[lane]
        pids = list(victim.line.pids)
        if kill:
            await victim.kill()
            self.lanes[lane] = await Lane(self._url, self._now).start()
        else:
            victim.line.cut()
        answers = await asyncio.gather(*tasks)
        while await self.reader.fetchval("select count(*) from pg_stat_activity where pid = any ($1)", pids):
            await asyncio.sleep(0.002)
        return answers

    async def sweep(self) -> None:
        await self._sweeper.fetchval(_SWEEP)

    async def restart(self, lane: int) -> None:
        await self.lanes[lane].close()
        self.lanes[lane] = await Lane(self._url, self._now).start()

    async def have_nothing_of(self, tenant: Any, moment: datetime) -> None:
        """Name the tenant whose row `ask_and_leave` touches to see a flush through."""
        self._nothing = Reservation(
            tenant_id=tenant, request_id=uuid7(), period_start=moment.date().replace(day=1), units=0
        )


def _quantity(index: int) -> int:
    return -1 if index == POISON else 1


def _told(answer: Answer | BaseException) -> Answer:
    if isinstance(answer, asyncio.CancelledError):
        return ("cancelled",)
    if isinstance(answer, BaseException):
        raise answer
    return answer
