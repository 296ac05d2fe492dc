"""What is old of the log goes, and how much waits is counted."""

import datetime as dt
from collections.abc import Callable

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database
from fanfold.webhooks.sender import utc_now

KEPT_DAYS = 30
MAX_KEPT = 10_000
BATCH = 500
_PURGE = text("select fanfold.webhook_purge(:now, :days, :kept, :most)")
_PENDING = text("select fanfold.webhook_pending()")


class WebhookUpkeep(Chore):
    """Removes deliveries after 30 days, and of each tenant the oldest ended ones beyond 10,000; `done` counts them.

    `pending` is how many waited over all tenants when it last looked.
    """

    refused = "The upkeep of webhooks' deliveries failed."

    def __init__(
        self,
        database: Database,
        *,
        every_s: float = 60.0,
        kept: int = MAX_KEPT,
        clock: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        super().__init__(every_s=every_s, full=1)
        self.pending = 0
        self._database, self._kept, self._clock = database, kept, clock

    async def piece(self) -> int:
        """Remove at most `BATCH` that are old and `BATCH` that are too many."""
        asked = {"now": self._clock(), "days": KEPT_DAYS, "kept": self._kept, "most": BATCH}
        async with self._database.begin() as connection:
            self.pending = (await connection.execute(_PENDING)).scalar_one()
            purged: int = (await connection.execute(_PURGE, asked)).scalar_one()
        return purged
