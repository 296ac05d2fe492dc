"""Sign-ins, refresh tokens and signing keys that have been over for a week go."""

import asyncio
import logging
from datetime import timedelta

from sqlalchemy import delete, func, or_, select

from fanfold.core.db import Database
from fanfold.oauth.models import SignIn, SigningKeyRecord

KEPT = timedelta(days=7)
BATCH = 1_000

_log = logging.getLogger(__name__)


class SignInPurge:
    """Removes what is over every `every_s` seconds. `purged` sign-ins went so far, `failures` rounds were refused."""

    def __init__(self, database: Database, *, every_s: float = 3600.0) -> None:
        self.purged = 0
        self.failures = 0
        self._database, self._every_s = database, every_s

    async def run(self) -> None:
        """Purge until cancelled; meant for the lifespan's task group."""
        while True:
            await self.round()
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Do one round; a database that is away is met again in the next."""
        try:
            while await self._batch() == BATCH:
                continue
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            _log.warning("A purge of sign-ins failed.", extra={"error": type(error).__name__})

    async def _batch(self) -> int:
        over = func.now() - KEPT
        old = select(SignIn.id).where(or_(SignIn.expires_at < over, SignIn.revoked_at < over))
        async with self._database.identity_session() as session, session.begin():
            await session.execute(delete(SigningKeyRecord).where(SigningKeyRecord.retired_at < over))
            chosen = old.limit(BATCH).with_for_update(skip_locked=True)
            # Their refresh tokens go with them.
            gone = await session.scalars(delete(SignIn).where(SignIn.id.in_(chosen)).returning(SignIn.id))
            purged = len(gone.all())
        self.purged += purged
        return purged
