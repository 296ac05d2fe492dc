"""What operators do with people: each change with its line in the audit log, in the same transaction."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.admin.user_repository import OperatorUserRepository
from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict, NotFound
from fanfold.users.models import User
from fanfold.users.totp import KEPT


class UserService:
    """Changes people as `actor`, on an operator's session; `users` reads."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session, self._actor, self.users = session, actor, OperatorUserRepository(session)

    async def get(self, user_id: UUID) -> tuple[User, Sequence[RowMapping]]:
        """Return a person with their memberships, or a 404."""
        return await self._find(user_id), await self.users.memberships(user_id)

    async def set_active(self, user_id: UUID, *, is_active: bool, reason: str | None) -> User:
        """Let a person sign in or not; whoever may not is signed out everywhere."""
        user = await self._find(user_id, for_change=True)
        if user.is_active == is_active:
            return user
        user.is_active = is_active
        await self.users.touched(user)
        if not is_active:
            await self.users.end_sign_ins(user_id)
        before, after = {"is_active": not is_active}, {"is_active": is_active}
        action = "user.activated" if is_active else "user.deactivated"
        await self._record(action, user_id, before=before, after=after, reason=reason)
        return user

    async def end_sign_ins(self, user_id: UUID, *, reason: str | None) -> None:
        """Sign a person out everywhere, within 2 s."""
        await self._find(user_id, for_change=True)
        ended = await self.users.end_sign_ins(user_id)
        await self._record("user.sign_ins_ended", user_id, after={"ended": ended}, reason=reason)

    async def remove_second_factor(self, user_id: UUID, *, reason: str | None) -> None:
        """Take the second factor from somebody who has lost it, and sign them out; a 409 for operators."""
        user = await self._find(user_id, for_change=True)
        if user.is_operator:
            raise Conflict(KEPT)
        if user.totp_sealed is None:
            return
        user.totp_sealed = None
        await self.users.touched(user)
        await self.users.end_sign_ins(user_id)
        await self._record("user.second_factor_removed", user_id, reason=reason)

    async def _find(self, user_id: UUID, *, for_change: bool = False) -> User:
        user = await self.users.find(user_id, for_change=for_change)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    async def _record(self, action: str, user_id: UUID, **change: Any) -> None:
        await audit.record(
            self._session, self._actor, action=action, object_kind="user", object_id=user_id, **change
        )
