"""People in Postgres, as fastapi-users asks for them; give it an identity session."""

from typing import Any
from uuid import UUID

from sqlalchemy import and_, case, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.core.errors import NotAuthenticated
from fanfold.core.identifiers import uuid7
from fanfold.tenants.invited import has_open_invitation
from fanfold.tenants.models import Tenant
from fanfold.users.addresses import address_key, find_key
from fanfold.users.models import Membership, User

_END_SIGN_INS = text(
    "update fanfold.sessions set revoked_at = now() where user_id = :user_id and revoked_at is null"
    " and id is distinct from cast(:but as uuid)"
)


class UserRepository:
    """fastapi-users' adapter, without its base, which only raises.

    Two who register one address at once get one row: `create` returns None to the second.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, id: UUID) -> User | None:  # noqa: A002 (fastapi-users' name)
        """Return the person, or None."""
        return await self._session.get(User, id)

    async def lock(self, user_id: UUID) -> User | None:
        """Return the person, whom nobody else changes until the transaction ends, or None."""
        return await self._session.get(User, user_id, with_for_update=True, populate_existing=True)

    async def lock_alive(self, user_id: UUID) -> User:
        """Return the person as `lock` does; a 401 where the account has ended.

        A token is believed for a second after that.
        """
        user = await self.lock(user_id)
        if user is None or not user.is_active:
            raise NotAuthenticated("The account is gone.")
        return user

    async def get_by_email(self, email: str) -> User | None:
        """Return whose address this is, or None; what is no address is nobody's."""
        key = find_key(email)
        return await self._session.scalar(select(User).where(User.email_key == key)) if key else None

    async def add(self, **members: Any) -> User | None:
        """Insert a person, or return None where the address is taken: by then, or at this very moment."""
        row = {"id": uuid7(), **members}
        statement = insert(User).values(row).on_conflict_do_nothing(index_elements=["email_key"])
        return await self._session.scalar(statement.returning(User))

    async def register(self, email: str, hashed_password: str, wanted_tenant: str | None) -> None:
        """Insert a person who is to prove that the address is theirs.

        Of an address that waits for that already nobody has a password any more: it might be a stranger's, who was
        first and hopes that the owner confirms it. Nor is a tenant founded that not all of them wanted. A verified
        account stays as it is. Each way is one statement.
        """
        row = {
            "id": uuid7(),
            "email": email,
            "email_key": address_key(email),
            "hashed_password": hashed_password,
        }
        statement = insert(User).values(row | {"wanted_tenant": wanted_tenant})
        agreed = case((User.wanted_tenant == statement.excluded.wanted_tenant, User.wanted_tenant))
        no_password = {"hashed_password": "", "wanted_tenant": agreed, "updated_at": func.now()}
        waits = and_(User.is_verified.is_(False), User.is_active)
        await self._session.execute(
            statement.on_conflict_do_update(index_elements=["email_key"], set_=no_password, where=waits)
        )

    async def is_invited(self, email: str) -> bool:
        """Whether a tenant waits for whoever reads mail at this address."""
        return await has_open_invitation(self._session, address_key(email))

    async def end_sign_ins(self, user_id: UUID, *, but: UUID | None = None) -> None:
        """End the person's sign-ins, all or all `but` one: their tokens are refused within 2 s."""
        await self._session.execute(_END_SIGN_INS, {"user_id": user_id, "but": but})

    async def let_go(self) -> None:
        """End the transaction, so that the connection is the others' while something takes long."""
        await self._session.commit()

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
        """Return the person's memberships: of active tenants first, then the oldest first."""
        found = select(Membership).join(Tenant, Tenant.id == Membership.tenant_id)
        ordered = found.where(Membership.user_id == user_id).order_by(
            Tenant.status != "active", Membership.created_at, Membership.tenant_id
        )
        return list(await self._session.scalars(ordered))
