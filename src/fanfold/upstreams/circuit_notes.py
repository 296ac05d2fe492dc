"""What circuits do is told to all processes: noted in memory as it happens, written by a task of its own."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, Boolean, Double, Text, Uuid, bindparam, text

from fanfold.core.db import Database
from fanfold.core.telemetry.logging import get_logger
from fanfold.fanout.breaker import CircuitChange

MAX_NOTED = 10_000
MOST_AT_ONCE = 500
_RETRY_S = 1.0
_TIDY_EVERY_S = 60.0
_LAST_ROUND_S = 5.0
_COLUMNS = {
    "tenants": Uuid, "upstreams": Uuid, "slugs": Text, "opened": Double, "retry": Double, "lasts": Double,
    "firsts": Boolean,
}  # fmt: skip
_NOTE = text(
    "select fanfold.upstream_circuits_note(:process, :tenants, :upstreams, :slugs, :opened, :retry, :lasts, :firsts)"
).bindparams(*(bindparam(name, type_=ARRAY(kind)) for name, kind in _COLUMNS.items()))
_LEAVE = text("select fanfold.upstream_circuits_leave(:process)")

Subject = tuple[UUID, UUID]
_log = get_logger("fanfold.upstreams")


class CircuitNotes:
    """Takes changes of this process's circuits by `note`, and writes each circuit's last one as soon as may be.

    A database that is away is met again a second later; beyond `MAX_NOTED` circuits what comes is left out and counted
    in `dropped`: a row that is there expires by itself. The last act of `run` takes this process's rows away.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self.failures = 0
        self.told = 0
        self.process_id = uuid4()
        self._database, self._clock = database, clock
        self._noted: dict[Subject, CircuitChange] = {}
        self._firsts: set[Subject] = set()
        self._wake = asyncio.Event()

    def note(self, change: CircuitChange) -> None:
        """Remember a change, and log it. Costs no wait; an upstream that is not registered is logged alone."""
        event = "A circuit opened." if change.is_open else "A circuit closed."
        _log.info(event, tenant_id=change.owner, upstream=change.slug, upstream_id=change.upstream_id)
        subject = _subject(change)
        if subject is None:
            return
        if subject not in self._noted and len(self._noted) >= MAX_NOTED:
            self.dropped += 1
            return
        if change.is_first:
            self._firsts.add(subject)
        self._noted[subject] = change
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; meant for the lifespan's task group."""
        try:
            while True:
                is_written = await self.round()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TIDY_EVERY_S if is_written else _RETRY_S):
                        await self._wake.wait()
        finally:
            await self.round(is_last=True)

    async def round(self, *, is_last: bool = False) -> bool:
        """Write what is noted; without anything it tidies up. Returns whether all of it is written."""
        self._wake.clear()
        try:
            async with asyncio.timeout(_LAST_ROUND_S):
                await self._write()
                while self._noted:
                    await self._write()
                if is_last:
                    async with self._database.begin() as connection:
                        await connection.execute(_LEAVE, {"process": self.process_id})
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            _log.warning("Changes of circuits were not written.", error=type(error).__name__)
            return False
        return True

    async def _write(self) -> None:
        subjects = list(self._noted)[:MOST_AT_ONCE]
        taken = {subject: self._noted.pop(subject) for subject in subjects}
        firsts = self._firsts & taken.keys()
        self._firsts -= firsts
        try:
            async with self._database.begin() as connection:
                self.told += (await connection.execute(_NOTE, self._values(taken, firsts))).scalar_one()
        except BaseException:
            self._noted = taken | self._noted  # what has come meanwhile is newer
            self._firsts |= firsts
            raise

    def _values(self, taken: dict[Subject, CircuitChange], firsts: set[Subject]) -> dict[str, object]:
        now, changes = self._clock(), list(taken.values())
        return {
            "process": self.process_id,
            "tenants": [tenant_id for tenant_id, _ in taken],
            "upstreams": [upstream_id for _, upstream_id in taken],
            "slugs": [change.slug for change in changes],
            "opened": [now - (change.opened_at or now) for change in changes],
            "retry": [change.retry_at - now if change.is_open else None for change in changes],
            "lasts": [change.forgotten_at - now for change in changes],
            "firsts": [subject in firsts for subject in taken],
        }


def _subject(change: CircuitChange) -> Subject | None:
    """Return whose circuit of which upstream it is; None: no tenant's, or an address that is not registered."""
    try:
        tenant_id = UUID(change.owner or "")
    except ValueError:
        return None
    return (tenant_id, change.upstream_id) if change.upstream_id else None
