"""Limits on what runs at once, over all processes: leases of slots from one table, asked for in batches."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from uuid import uuid4

from fanfold.core.db import Connect
from fanfold.core.telemetry.logging import get_logger
from fanfold.ratelimit.concurrency.base import Holders, LimitReached
from fanfold.ratelimit.concurrency.leases import LEASE_S, Demand, Leases
from fanfold.ratelimit.concurrency.shares import MOST_DEMANDS, Shares
from fanfold.ratelimit.concurrency.waiting import Waiter, Waiting

WAIT_S = 0.2
RETRY_S = 0.025
TIMEOUT_S = 2.0
_PAUSE_S = 0.5
_TIDY_EVERY = 20  # renewals
# The lane answers everybody who waits, long before this.
_SAFETY_S = 2 * TIMEOUT_S + 1

_log = get_logger("fanfold.concurrency")


class ConcurrencyLimiter:
    """Gives out slots: `acquire`, and `release` with the same holders on every path.

    One lane asks the table for all keys together, and takes along everyone who came meanwhile. A refusal comes after
    200 ms, in which a slot that is just being given back elsewhere may arrive. What a killed process held is free when
    its lease ends. While the database is away each process counts for itself, against its part of the limits.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        workers: int = 1,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_away = False
        self._clock = clock
        self._lease_s = lease_s
        self._leases = Leases(connect, uuid4(), lease_s=lease_s, timeout_s=TIMEOUT_S)
        self._shares = Shares(workers)
        self._waiting = Waiting()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._renewals = 0
        self._renew_at = clock()
        self._lane: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Requests that have their slots, in this process."""
        return self._shares.running

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot, in this process."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        try:
            await self._leases.open()
        except Exception as error:  # noqa: BLE001 - the lane's edge: a server starts without its database, too
            self._fall_back(error)
        self._lane = asyncio.create_task(self._run(), name="concurrency lane")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Give everything back, and end."""
        self._is_closing = True
        self._wake.set()
        if self._lane is not None:
            await asyncio.wait([self._lane], timeout=_SAFETY_S)
            self._lane.cancel()
            await asyncio.wait([self._lane])
        for waiter in self._waiting:
            waiter.tell(granted=False)
        await self._give_back()
        await self._leases.close()

    async def acquire(self, holders: Holders) -> None:
        """Take a slot of every holder, or of none: raises LimitReached."""
        if self.is_away:
            taken = self._shares.take_alone(holders)
        else:
            taken = self._shares.take(holders, self._clock()) or await self._wait(holders)
        if not taken:
            raise LimitReached(self._shares.reached(holders))

    def release(self, holders: Holders) -> None:
        """Give the slots of one `acquire` back."""
        self._shares.release(holders)
        for holder in holders:
            if self._waiting.has(holder.key):
                self._serve(holder.key)
        self._give_back_spare(holders)

    def _give_back_spare(self, holders: Holders) -> None:
        for holder in holders:
            if self._shares.has_to_give_back(holder.key):
                self._wake.set()

    async def _wait(self, holders: Holders) -> bool:
        in_use = self._shares.in_use_of
        if self._is_closing or any(self._waiting.is_full(each, in_use=in_use(each.key)) for each in holders):
            return False
        now = self._clock()
        waiter = Waiter(holders, asyncio.get_running_loop().create_future(), now + WAIT_S)
        if not self._waiting or not self._shares.is_closed(holders, now):
            self._wake.set()
        self._waiting.add(waiter)
        try:
            async with asyncio.timeout(_SAFETY_S):
                return await waiter.answer
        except TimeoutError:
            return waiter.was_granted or self._shares.take_alone(holders)
        except asyncio.CancelledError:
            if waiter.was_granted:  # in the very moment of the cancellation
                self.release(holders)
            raise
        finally:
            self._waiting.remove(waiter)
            self._give_back_spare(holders)  # of those that it needed, some may have come

    async def _run(self) -> None:
        while not self._is_closing:
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001 - the lane's edge: it goes on, and nobody waits for it
                self._fall_back(error)
                await asyncio.sleep(_PAUSE_S)
            else:
                await self._sleep()

    async def _sleep(self) -> None:
        pause_s = self._renew_at - self._clock()
        if self._waiting:
            pause_s = min(pause_s, RETRY_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause_s)):
                await self._wake.wait()

    async def _round(self) -> None:
        self._wake.clear()
        if self.is_away:
            await self._come_back()
        if self._clock() >= self._renew_at:
            await self._renew()
        await self._ask_for_those_who_wait()
        now = self._clock()
        for waiter in self._waiting:
            if waiter.was_told and waiter.give_up_at <= now:
                waiter.tell(granted=False)

    async def _ask_for_those_who_wait(self) -> None:
        asking = list(self._waiting)
        demands = self._shares.demands([waiter.holders for waiter in asking], self._clock())
        if demands:
            await self._exchange(demands)
            # What came meanwhile has a round of its own: a crowd must not keep renewals and refusals waiting.
            self._wake.set()
        for waiter in asking:
            waiter.was_told = True
        for demand in demands:
            self._serve(demand.key)
            if not self._waiting.has(demand.key):
                self._shares.has_to_give_back(demand.key)  # who it was for has left

    async def _exchange(self, demands: list[Demand]) -> None:
        sent_at = self._clock()
        try:
            allowed = await self._leases.exchange(demands)
        except BaseException:
            self._shares.unanswered(demands)
            raise
        retry_at = self._clock() + RETRY_S
        self._shares.apply(demands, allowed, valid_until=self._valid_until(sent_at), retry_at=retry_at)

    def _serve(self, key: str) -> None:
        now = self._clock()
        if not self._shares.has_free(key, now):
            return
        for waiter in self._waiting.of(key):
            if self._shares.take(waiter.holders, now):
                waiter.tell(granted=True)
                if not self._shares.has_free(key, now):
                    return

    async def _renew(self) -> None:
        sent_at = self._clock()
        keys = self._shares.to_renew()
        if keys:
            alive = await self._leases.renew(keys)
            self._shares.renewed(keys, alive, valid_until=self._valid_until(sent_at))
        if self._renewals % _TIDY_EVERY == 0:
            await self._leases.tidy()
        self._renewals += 1
        self._renew_at = sent_at + self._lease_s * 0.3

    def _valid_until(self, sent_at: float) -> float:
        # By our own clock, and sooner than by the database's: what might be somebody else's is not given out.
        return sent_at + self._lease_s * 0.9

    def _fall_back(self, error: Exception) -> None:
        self._leases.drop()
        if not self.is_away:
            _log.warning(
                "The table of concurrent requests is out of reach: this process counts for itself.",
                error=type(error).__name__,
            )
        self.is_away = True
        for waiter in self._waiting:
            waiter.tell(granted=self._shares.take_alone(waiter.holders))

    async def _come_back(self) -> None:
        """Say anew what is in use, whatever became of the table; then its word counts again."""
        self._shares.lapse_all()
        await self._leases.exchange(())  # also where nothing is in use: is it there?
        # So often as it takes for what there was: requests come and go meanwhile, and would keep this up for ever.
        for _ in range(len(self._shares) // MOST_DEMANDS + 1):
            if demands := self._shares.demands((), self._clock()):
                await self._exchange(demands)
        self._shares.ask_for_overdrawn()  # what was taken alone meanwhile
        self.is_away = False
        _log.info("The table of concurrent requests is within reach again.")

    async def _give_back(self) -> None:
        demands = self._shares.give_up_all()
        try:
            for start in range(0, len(demands), MOST_DEMANDS):
                await self._leases.exchange(demands[start : start + MOST_DEMANDS])
        except Exception as error:  # noqa: BLE001 - the end of the process: the leases end without it
            _log.warning("Slots could not be given back.", error=type(error).__name__)
