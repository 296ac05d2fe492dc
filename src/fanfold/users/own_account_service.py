"""What people who have signed in change of their own accounts."""

from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.core.errors import NotAuthenticated
from fanfold.core.lazily import imported, on_call
from fanfold.core.values import value
from fanfold.outbox import writer as outbox
from fanfold.users.account_mails import ADDRESS_CHANGING, NEW_ADDRESS
from fanfold.users.addresses import address_key
from fanfold.users.errors import wrong_password
from fanfold.users.models import User
from fanfold.users.passwords import Passwords
from fanfold.users.repository import UserRepository
from fanfold.users.schemas import PasswordChange, PersonUpdate
from fanfold.users.tries import AccountTries
from fanfold.users.types import BeforeLock

_MANAGER = "fanfold.users.manager"
UserManager = on_call(_MANAGER, "UserManager")


@value(kw_only=True)
class OwnAccountService:
    """On one identity session, for the person who has signed in from `address`."""

    session: AsyncSession
    passwords: Passwords
    tries: AccountTries
    user_id: UUID
    actor: Actor
    address: str

    @property
    def users(self) -> UserRepository:
        """People, on this session."""
        return UserRepository(self.session)

    async def get(self) -> User:
        """Return the person."""
        user = await self.users.get(self.user_id)
        if user is None or not user.is_active:
            raise NotAuthenticated("The account is gone.")
        return user

    async def change(self, wanted: PersonUpdate) -> User:
        """Change the name at once; a new address is asked to prove itself, and the old one is told.

        A new address takes the present password: a 422 where it is missing or wrong.
        """
        user = await self.get()
        if "email" in wanted.model_fields_set and wanted.email != user.email:
            password = wanted.current_password
            user = await self.prove(password.get_secret_value() if password else "")
            await self._ask_to_move(user, wanted.email)
        if "name" in wanted.model_fields_set:
            user = await self.users.update(await self.users.lock_alive(user.id), {"name": wanted.name})
        return user

    async def change_password(self, wanted: PasswordChange, *, session_id: UUID | None) -> None:
        """Set a new password; ends every sign-in but the one that asks. A 422 where the present one is wrong."""
        user = await self.prove(wanted.current_password.get_secret_value())
        present = user.hashed_password
        await self.users.let_go()
        hashed = await self.passwords.chosen(
            wanted.new_password.get_secret_value(), known=[user.email, user.name], member="new_password"
        )
        locked = await self.users.lock_alive(user.id)
        if locked.hashed_password != present:  # of two who change it at once, one is right
            raise wrong_password()
        await self.users.update(locked, {"hashed_password": hashed, "credentials_changed_at": func.now()})
        await self.users.end_sign_ins(locked.id, but=session_id)
        await self._record("user.password_changed")

    async def prove(self, password: str, *, before_lock: BeforeLock | None = None) -> User:
        """Return the person, locked, where this is the present password; a 422 where it is not. Counts the try.

        `before_lock` is awaited where it is right, while the row is free.
        """
        await imported(_MANAGER)
        user = await self.get()
        await self.tries.take(user.email_key, self.address)
        manager = UserManager(self.users, self.passwords)
        is_right = await manager.proven(user, password, before_lock=before_lock) is not None
        present = await self.users.lock_alive(user.id)  # it may have ended while we hashed
        if not is_right:
            raise wrong_password()
        return present

    async def _ask_to_move(self, user: User, email: str) -> None:
        known = {"user_id": str(user.id), "was": user.email}
        if await self.tries.may_mail(NEW_ADDRESS, address_key(email)):
            await outbox.add(self.session, outbox.NO_TENANT, NEW_ADDRESS, {**known, "email": email})
        await outbox.add(self.session, outbox.NO_TENANT, ADDRESS_CHANGING, known)
        await self._record("user.address_change_asked")

    async def _record(self, action: str) -> None:
        await audit.record(
            self.session, self.actor, action=action, object_kind="user", object_id=self.user_id
        )
