"""Sign-ins and their refresh tokens in Postgres; give it an identity session."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.oauth.models import RefreshToken, SignIn

_RIGHTS = text(
    """
    select user_id, client_id, role, is_operator, tenant_id, scopes from fanfold.authenticate_session(:session_id)
    """
)


class SignInRepository:
    """All sign-ins."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, sign_in: SignIn) -> SignIn:
        """Insert a sign-in and read back what the database fills in."""
        self._session.add(sign_in)
        await self._session.flush()
        await self._session.refresh(sign_in)
        return sign_in

    async def rights(self, session_id: UUID) -> Mapping[str, Any] | None:
        """Return what the rights of a sign-in are made of, as `oauth.authenticator.allowed_scopes` reads it.

        None where the person is inactive or has left the tenant, or the client is revoked.
        """
        found = (await self._session.execute(_RIGHTS, {"session_id": session_id})).mappings().one_or_none()
        return dict(found) if found else None

    async def now(self) -> datetime:
        """Return the database's time, by which tokens are over."""
        moment: datetime = (await self._session.execute(select(func.clock_timestamp()))).scalar_one()
        return moment

    async def find(self, session_id: UUID) -> SignIn | None:
        """Return the sign-in, or None."""
        return await self._session.get(SignIn, session_id)

    async def lock(self, session_id: UUID) -> SignIn | None:
        """Return the sign-in, whose tokens nobody else rotates until the transaction ends, or None."""
        return await self._session.get(SignIn, session_id, with_for_update=True, populate_existing=True)

    async def find_token(self, digests: Sequence[bytes]) -> RefreshToken | None:
        """Return the refresh token of one of these digests, or None."""
        return await self._session.scalar(select(RefreshToken).where(RefreshToken.digest.in_(digests)))

    async def add_token(self, token: RefreshToken) -> None:
        """Insert a refresh token."""
        self._session.add(token)
        await self._session.flush()

    async def replace_token(self, token: RefreshToken, digest: bytes, *, at: datetime) -> None:
        """Use a token up, and insert the one that follows: of a family one is live."""
        token.used_at = at
        await self._session.flush()
        await self.add_token(RefreshToken(digest=digest, session_id=token.session_id))

    async def living(self, user_id: UUID) -> Sequence[SignIn]:
        """Return a person's sign-ins that hold, the one used last first."""
        mine = select(SignIn).where(
            SignIn.user_id == user_id, SignIn.revoked_at.is_(None), SignIn.expires_at > func.now()
        )
        return list(await self._session.scalars(mine.order_by(SignIn.last_used_at.desc(), SignIn.id)))

    async def end_beyond(self, user_id: UUID, *, most: int) -> None:
        """End those of a person's sign-ins that were used least lately, beyond `most`."""
        living = select(SignIn.id).where(
            SignIn.user_id == user_id, SignIn.revoked_at.is_(None), SignIn.expires_at > func.now()
        )
        beyond = living.order_by(SignIn.last_used_at.desc(), SignIn.id.desc()).offset(most)
        await self._session.execute(update(SignIn).where(SignIn.id.in_(beyond)).values(revoked_at=func.now()))

    async def end_others(self, user_id: UUID, *, spared: UUID | None) -> None:
        """End all sign-ins of a person but one."""
        others = update(SignIn).where(
            SignIn.user_id == user_id, SignIn.id != spared, SignIn.revoked_at.is_(None)
        )
        await self._session.execute(others.values(revoked_at=func.now()))

    async def end(self, **which: Any) -> None:
        """End the sign-ins that have these members, at once and for good."""
        ended = update(SignIn).where(SignIn.revoked_at.is_(None)).values(revoked_at=func.now())
        await self._session.execute(ended.filter_by(**which))
