"""The deliverer: sends what is due to webhooks, at least once, so that one that hangs holds up no other."""

import asyncio
import datetime as dt
import random
from collections.abc import Callable

from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.db import Database
from fanfold.core.telemetry.logging import get_logger
from fanfold.webhooks.claiming import Claim, DelivererLimits, claim
from fanfold.webhooks.ending import Endings
from fanfold.webhooks.sender import Attempt, Sender, utc_now

STOP_S = 5.0
OUTCOMES = ("delivered", "failed", "dead")
_NO_KEY_PAUSE_S = 60.0
_WRITE_PAUSE_S = 1.0
_log = get_logger("fanfold.webhooks")


class Deliverer:
    """Claims deliveries that are due, sends each without a database connection, and writes how it ended.

    Several processes share the work; one that dies leaves its leases to the others, so that a receiver may get an event
    twice. `told` counts attempts by outcome, `failures` rounds without database.
    """

    def __init__(
        self,
        database: Database,
        key_ring: KeyRing,
        sender: Sender,
        *,
        endings: Endings | None = None,
        limits: DelivererLimits | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self.told = dict.fromkeys(OUTCOMES, 0)
        self.failures = 0
        self._database, self._key_ring, self._sender = database, key_ring, sender
        self._endings = endings or Endings(database, clock=clock)
        self._limits = limits or DelivererLimits()
        self._clock = clock
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._wake = asyncio.Event()

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._running)

    def nudge(self) -> None:
        """Look now: something has become due."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled, then give attempts a moment; meant for the lifespan's task group."""
        try:
            while True:
                self._wake.clear()
                if not await self.round():
                    await self._wait()
        finally:
            await self._stop()

    async def round(self) -> bool:
        """Claim what is due and begin to send it; returns whether there may be more to claim at once."""
        free = self._limits.most - len(self._running)
        if free <= 0:
            return False
        failing = sum(each.is_failing for each in self._running.values())
        lane = max(0, self._limits.failing_most - failing)
        try:
            claims = await claim(
                self._database, self._limits, now=self._clock(), most=free, failing_most=lane
            )
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            _log.warning("A round of deliveries to webhooks failed.", error=type(error).__name__)
            return False
        for each in claims:
            task = asyncio.create_task(self._deliver(each))
            self._running[task] = each
            task.add_done_callback(self._ended)
        return len(claims) == free

    async def settle(self) -> None:
        """Wait until what is under way has ended."""
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._wake.set()

    async def _wait(self) -> None:
        # Not all processes at one moment; the first to be late takes what another would find gone.
        pause_s = self._limits.poll_s * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _deliver(self, claim: Claim) -> None:
        try:
            await self._attempt(claim)
        except Exception as error:  # noqa: BLE001 - the task's edge: the lease ends by itself, and it is sent again
            _log.error("A delivery to a webhook was broken off.", error=type(error).__name__)

    async def _attempt(self, claim: Claim) -> None:
        try:
            keys = claim.keys(self._key_ring, self._clock())
        except SealBroken as broken:  # the operator's to mend, and no failure of the receiver
            _log.error(
                "A webhook's secret does not open: its deliveries wait.",
                webhook_id=claim.webhook_id,
                tenant_id=claim.tenant_id,
                remedy=broken.explanation,
            )
            await self._give_back(claim, pause_s=_NO_KEY_PAUSE_S)
            return
        try:
            attempt = await self._sender.send(claim.url, claim.event, keys)
        except asyncio.CancelledError:  # the process stops: the next one sends it
            await self._give_back(claim)
            raise
        await self._end(claim, attempt)

    async def _end(self, claim: Claim, attempt: Attempt) -> None:
        """Write how it ended, again and again while the lease lasts: after it somebody else sends it anew."""
        async with asyncio.timeout(self._limits.lease_s):
            while True:
                try:
                    outcome = await self._endings.end(claim, attempt)
                except Exception as error:  # noqa: BLE001 - the edge to the database: what is not written is sent twice
                    _log.warning("An attempt at a webhook was not written.", error=type(error).__name__)
                    await asyncio.sleep(_WRITE_PAUSE_S)
                    continue
                if outcome is not None:
                    self.told[outcome] += 1
                return

    async def _give_back(self, claim: Claim, *, pause_s: float = 0.0) -> None:
        try:
            await self._endings.give_back(claim, pause_s=pause_s)
        except Exception as error:  # noqa: BLE001 - the edge to the database: the lease ends by itself
            _log.warning("A delivery was not given back.", error=type(error).__name__)

    async def _stop(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_S)
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
