"""fastapi-users' manager, with what it lacks mended: hashed off the loop, the same work for no account."""

from typing import Protocol
from uuid import UUID

from fastapi_users import BaseUserManager, UUIDIDMixin

from fanfold.users.models import User
from fanfold.users.passwords import Passwords
from fanfold.users.repository import UserRepository
from fanfold.users.types import BeforeLock


class Credentials(Protocol):
    """What a sign-in form says of who it is."""

    username: str
    password: str


class UserManager(UUIDIDMixin, BaseUserManager[User, UUID]):  # type: ignore[type-var]  # a mapped column is a protocol's attribute
    """The rules of accounts, on one session. No connection is held while a password is verified."""

    def __init__(self, users: UserRepository, passwords: Passwords) -> None:
        super().__init__(users, passwords)  # type: ignore[arg-type]  # it has what fastapi-users asks of one
        self.users, self.passwords = users, passwords

    async def authenticate(
        self, credentials: Credentials, *, before_lock: BeforeLock | None = None
    ) -> User | None:
        """Return who this is, if the password is right and the account is active and verified."""
        found = await self.users.get_by_email(credentials.username)
        user = await self.proven(found, credentials.password, before_lock=before_lock)
        return user if user is not None and user.is_active and user.is_verified else None

    async def proven(
        self, user: User | None, password: str, *, before_lock: BeforeLock | None = None
    ) -> User | None:
        """Return the person, locked until the transaction ends, if this is the password; nobody's takes as long.

        `before_lock` is awaited where the password is right, while no connection and no row is held.
        """
        hashed = user.hashed_password if user else None
        await self.users.let_go()
        is_right, better = await self.passwords.verified(password, hashed)
        if user is None or not is_right:
            return None
        if before_lock is not None:
            await before_lock(user)
        present = await self.users.lock(user.id)
        if present is None or present.hashed_password != hashed:  # it was changed meanwhile
            return None
        return await self.users.update(present, {"hashed_password": better}) if better else present
