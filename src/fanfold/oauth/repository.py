"""Sign-ins and their refresh tokens in Postgres; give it an identity session."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.oauth.models import RefreshToken, SignIn

_RIGHTS = text(
    """
    select s.user_id, s.client_id, m.role, s.tenant_id, s.scopes,
           coalesce(u.is_operator and u.totp_sealed is not null, false) as is_operator
      from fanfold.sessions s
      left join fanfold.users u on u.id = s.user_id
      left join fanfold.memberships m on m.tenant_id = s.tenant_id and m.user_id = s.user_id
       and m.created_at <= s.created_at
     where s.id = :session_id
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

    async def rights(self, session_id: UUID) -> RowMapping:
        """Return what the rights of a sign-in are made of, as `oauth.authenticator.allowed_scopes` reads it."""
        return (await self._session.execute(_RIGHTS, {"session_id": session_id})).mappings().one()

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

    async def end(self, **which: Any) -> None:
        """End the sign-ins that have these members, at once and for good."""
        ended = update(SignIn).where(SignIn.revoked_at.is_(None)).values(revoked_at=func.now())
        await self._session.execute(ended.filter_by(**which))
