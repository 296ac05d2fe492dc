"""Sign-ins, refresh tokens and signing keys that have been over for a week go."""

from datetime import timedelta

from sqlalchemy import delete, func, or_, select

from fanfold.core.chores import Chore
from fanfold.core.db import Database
from fanfold.oauth.models import SignIn, SigningKeyRecord

KEPT = timedelta(days=7)
BATCH = 1_000


class SignInPurge(Chore):
    """Removes what has been over for `KEPT`; `done` counts sign-ins."""

    refused = "A purge of sign-ins failed."

    def __init__(self, database: Database, *, every_s: float = 3600.0) -> None:
        super().__init__(every_s=every_s, full=BATCH)
        self._database = database

    async def piece(self) -> int:
        """Remove at most `BATCH` sign-ins, and signing keys."""
        over = func.now() - KEPT
        old = select(SignIn.id).where(or_(SignIn.expires_at < over, SignIn.revoked_at < over))
        async with self._database.identity_session() as session, session.begin():
            await session.execute(delete(SigningKeyRecord).where(SigningKeyRecord.retired_at < over))
            chosen = old.limit(BATCH).with_for_update(skip_locked=True)
            # Their refresh tokens go with them.
            gone = await session.scalars(delete(SignIn).where(SignIn.id.in_(chosen)).returning(SignIn.id))
            return len(gone.all())
