"""When API keys were used last: noted in memory, written for many at once, so that no request waits for a row."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Uuid, bindparam, text

from fanfold.auth.principal import Principal, PrincipalKind
from fanfold.core.db import Database
from fanfold.tenants.periods import utc_now

EVERY_S = 10.0
APART = timedelta(minutes=1)
MAX_NOTED = 10_000
_LAST_FLUSH_S = 5.0
_USED = text("select fanfold.api_keys_used(:tenants, :keys, :moments)").bindparams(
    bindparam("tenants", type_=ARRAY(Uuid)),
    bindparam("keys", type_=ARRAY(Uuid)),
    bindparam("moments", type_=ARRAY(DateTime(timezone=True))),
)

_log = logging.getLogger(__name__)


class LastUse:
    """Notes uses, and writes them every `every_s` seconds and at the end; of one key at most once a minute.

    A key whose row is held by somebody is noted anew at its next use. `written` rows were changed so far.
    """

    def __init__(
        self, database: Database, *, every_s: float = EVERY_S, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.written = 0
        self.failures = 0
        self._database, self._every_s, self._now = database, every_s, now
        self._noted: dict[tuple[UUID, UUID], datetime] = {}
        self._sent: dict[tuple[UUID, UUID], datetime] = {}

    def note(self, principal: Principal) -> None:
        """Remember that a tenant's key was used now; beyond `MAX_NOTED` keys of a round the rest waits for the next."""
        if principal.kind is not PrincipalKind.API_KEY or principal.tenant is None:
            return
        key, now = (principal.tenant.id, principal.id), self._now()
        sent = self._sent.get(key)
        if (sent is None or now - sent >= APART) and (key in self._noted or len(self._noted) < MAX_NOTED):
            self._noted[key] = now

    async def run(self) -> None:
        """Write until cancelled, and once more then; meant for the lifespan's task group."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.round()
        finally:
            await self.round(deadline_s=_LAST_FLUSH_S)

    async def round(self, *, deadline_s: float | None = None) -> None:
        """Do one round; what a database that is away did not take is written in the next."""
        try:
            async with asyncio.timeout(deadline_s):
                await self.flush()
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            _log.warning("Last uses of API keys were not written.", extra={"error": type(error).__name__})

    async def flush(self) -> None:
        """Write what was noted, in one statement."""
        now = self._now()
        self._sent = {key: sent for key, sent in self._sent.items() if now - sent < APART}
        noted, self._noted = self._noted, {}
        if not noted:
            return
        values = {
            "tenants": [tenant_id for tenant_id, _ in noted],
            "keys": [key_id for _, key_id in noted],
            "moments": list(noted.values()),
        }
        try:
            async with self._database.begin() as connection:
                self.written += (await connection.execute(_USED, values)).scalar_one()
        except BaseException:
            self._noted = noted | self._noted
            raise
        self._sent |= noted
