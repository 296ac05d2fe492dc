"""Memberships in Postgres: of one tenant, and of one person."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.repository import decode_cursor, encode_cursor, page
from fanfold.core.values import value
from fanfold.tenants.models import Tenant
from fanfold.users.models import Membership, User


@value(kw_only=True)
class Member:
    """A person of a tenant."""

    user_id: UUID
    email: str
    name: str
    role: str
    joined_at: datetime


class MembershipRepository:
    """The memberships of one tenant; a tenant's session sees them, and an identity session does."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self._session, self.tenant_id = session, tenant_id

    async def lock_owners(self) -> set[UUID]:
        """Return who owns the tenant; nobody else takes an owner away until the transaction ends."""
        owners = (
            select(Membership.user_id)
            .where(Membership.tenant_id == self.tenant_id, Membership.role == "owner")
            .order_by(Membership.user_id)
            .with_for_update()
        )
        return set(await self._session.scalars(owners))

    async def find(self, user_id: UUID, *, for_change: bool = False) -> Membership | None:
        """Return the person's membership, or None; `for_change` locks it until the transaction ends."""
        return await self._session.get(
            Membership, (self.tenant_id, user_id), with_for_update=for_change, populate_existing=for_change
        )

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[Member], str | None]:
        """Return a page of members, the newest accounts first."""
        mine = select(Membership).where(Membership.tenant_id == self.tenant_id)
        rows, next_cursor = await page(self._session, mine, by=Membership.user_id, limit=limit, cursor=cursor)
        return await self._named(rows), next_cursor

    async def shown(self, membership: Membership) -> Member:
        """Return a membership with its person's name."""
        return (await self._named([membership]))[0]

    async def remove(self, membership: Membership) -> None:
        """Delete a membership."""
        await self._session.delete(membership)
        await self._session.flush()

    async def _named(self, rows: Sequence[Membership]) -> Sequence[Member]:
        # Column by column: a tenant's role reads no others of its members.
        columns = (User.id, User.email, User.name)
        found = await self._session.execute(
            select(*columns).where(User.id.in_([row.user_id for row in rows]))
        )
        people: Mapping[UUID, Any] = {person.id: person for person in found}
        return [
            Member(
                user_id=row.user_id,
                email=people[row.user_id].email,
                name=people[row.user_id].name,
                role=row.role,
                joined_at=row.created_at,
            )
            for row in rows
            if row.user_id in people  # whoever left between the two statements is seen no more
        ]


class PersonsTenants:
    """The tenants of one person; give it an identity session."""

    def __init__(self, session: AsyncSession, user_id: UUID) -> None:
        self._session, self._user_id = session, user_id

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[RowMapping], str | None]:
        """Return a page of tenants with the person's role in each, the newest first."""
        columns = (Tenant.id, Tenant.slug, Tenant.name, Tenant.status, Membership.role)
        mine = (
            select(*columns)
            .join(Membership, Membership.tenant_id == Tenant.id)
            .where(Membership.user_id == self._user_id)
        )
        if cursor:
            mine = mine.where(Tenant.id < decode_cursor(cursor))
        found = await self._session.execute(mine.order_by(Tenant.id.desc()).limit(limit + 1))
        rows = found.mappings().all()
        return rows[:limit], encode_cursor(rows[limit - 1]["id"]) if len(rows) > limit else None
