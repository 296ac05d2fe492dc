"""People in Postgres, as operators see them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import escape_like, page
from fanfold.core.values import value
from fanfold.tenants.models import Tenant
from fanfold.users.models import Membership, User

_END = text(
    "update fanfold.sessions set revoked_at = now() where user_id = :user_id and revoked_at is null"
    " and expires_at > now()"
)


@value(kw_only=True)
class UserFilter:
    """Which people to list; None does not filter. `search` is part of an address or a name."""

    search: str | None = None
    is_active: bool | None = None
    is_verified: bool | None = None
    is_operator: bool | None = None


class OperatorUserRepository:
    """All people; give it an operator's session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, user_id: UUID, *, for_change: bool = False) -> User | None:
        """Return the person or None; `for_change` locks them until the transaction ends."""
        return await self._session.get(User, user_id, with_for_update=for_change)

    async def list(
        self, chosen: UserFilter, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[User], str | None]:
        """Return a page of people, newest first."""
        statement = select(User)
        if chosen.search:
            pattern = f"%{escape_like(chosen.search)}%"
            statement = statement.where(or_(User.email.ilike(pattern), User.name.ilike(pattern)))
        for name in ("is_active", "is_verified", "is_operator"):
            wanted: bool | None = getattr(chosen, name)
            if wanted is not None:
                statement = statement.where(getattr(User, name).is_(wanted))
        return await page(self._session, statement, by=User.id, limit=limit, cursor=cursor)

    async def memberships(self, user_id: UUID) -> Sequence[RowMapping]:
        """Return the person's tenants with the role in each, the oldest membership first."""
        columns = (
            Membership.tenant_id,
            Tenant.slug,
            Membership.role,
            Membership.created_at.label("joined_at"),
        )
        found = select(*columns).join(Tenant, Tenant.id == Membership.tenant_id)
        found = found.where(Membership.user_id == user_id)
        rows = await self._session.execute(found.order_by(Membership.created_at, Membership.tenant_id))
        return rows.mappings().all()

    async def end_sign_ins(self, user_id: UUID) -> int:
        """End all sign-ins of a person; returns how many there were."""
        ended = await self._session.execute(_END, {"user_id": user_id})
        return int(ended.rowcount)  # type: ignore[attr-defined]  # an UPDATE has one

    async def touched(self, user: User) -> datetime:
        """Write what changed, and when."""
        user.updated_at = func.now()
        await self._session.flush()
        await self._session.refresh(user)
        return user.updated_at
