"""People in Postgres, as fastapi-users asks for them; give it an identity session."""

from typing import Any
from uuid import UUID

from fastapi_users.db import BaseUserDatabase
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.identifiers import uuid7
from fanfold.users.addresses import find_key
from fanfold.users.models import Membership, User


class UserRepository(BaseUserDatabase[User, UUID]):  # type: ignore[type-var]  # a mapped column is a protocol's attribute
    """fastapi-users' adapter. Two who register one address at once get one row: `create` returns None to the second."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, id: UUID) -> User | None:  # noqa: A002 (fastapi-users' name)
        """Return the person, or None."""
        return await self._session.get(User, id)

    async def lock(self, user_id: UUID) -> User | None:
        """Return the person, whom nobody else changes until the transaction ends, or None."""
        return await self._session.get(User, user_id, with_for_update=True, populate_existing=True)

    async def get_by_email(self, email: str) -> User | None:
        """Return whose address this is, or None; what is no address is nobody's."""
        key = find_key(email)
        return await self._session.scalar(select(User).where(User.email_key == key)) if key else None

    async def add(self, **members: Any) -> User | None:
        """Insert a person, or return None where the address is taken: by then, or at this very moment."""
        row = {"id": uuid7(), **members}
        statement = insert(User).values(row).on_conflict_do_nothing(index_elements=["email_key"])
        return await self._session.scalar(statement.returning(User))

    async def create(self, create_dict: dict[str, Any]) -> User:
        """Insert a person whose address is known to be free; raises IntegrityError where it is not."""
        user = User(id=uuid7(), **create_dict)
        self._session.add(user)
        await self._session.flush()
        return user

    async def update(self, user: User, update_dict: dict[str, Any]) -> User:
        """Change members of a person."""
        for name, value in update_dict.items():
            setattr(user, name, value)
        user.updated_at = func.now()
        await self._session.flush()
        await self._session.refresh(user)
        return user

    async def delete(self, user: User) -> None:
        """Delete a person who belongs to no tenant any more."""
        await self._session.delete(user)

    async def memberships(self, user_id: UUID) -> list[Membership]:
        """Return the person's memberships, the oldest first."""
        found = select(Membership).where(Membership.user_id == user_id)
        return list(await self._session.scalars(found.order_by(Membership.created_at, Membership.tenant_id)))
