"""fastapi-users' manager, with what it lacks mended: hashed off the loop, the same work for no account."""

from typing import Protocol
from uuid import UUID

from fastapi_users import BaseUserManager, UUIDIDMixin

from fanfold.users.models import User
from fanfold.users.passwords import Passwords
from fanfold.users.repository import UserRepository


class Credentials(Protocol):
    """What a sign-in form says of who it is."""

    username: str
    password: str


class UserManager(UUIDIDMixin, BaseUserManager[User, UUID]):  # type: ignore[type-var]  # as in the repository
    """The rules of accounts, on one session."""

    def __init__(self, users: UserRepository, passwords: Passwords) -> None:
        super().__init__(users, passwords)
        self.users, self.passwords = users, passwords

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return who this is, if the password is right and the account is active and verified."""
        user = await self.users.get_by_email(credentials.username)
        is_right, better = await self.passwords.verified(
            credentials.password, user.hashed_password if user else None
        )
        if user is None or not is_right or not (user.is_active and user.is_verified):
            return None
        if better is not None:
            await self.users.update(user, {"hashed_password": better})
        return user
