"""Passwords: argon2id, hashed in a small pool of threads; bcrypt of elsewhere is verified, and upgraded."""

import secrets
from functools import cached_property

from passlib.context import CryptContext

from fanfold.core.offload import Offload

# OWASP's password storage cheat sheet: argon2id with 19 MiB, two passes, one lane.
_CONTEXT = CryptContext(
    schemes=["argon2", "bcrypt"],
    deprecated=["bcrypt"],
    argon2__type="ID",
    argon2__memory_cost=19 * 1024,
    argon2__time_cost=2,
    argon2__parallelism=1,
)


class Passwords:
    """Hashes and verifies off the event loop; raises `Overloaded` where too many wait already.

    `hash`, `verify_and_update` and `generate` are fastapi-users' `PasswordHelperProtocol`: they block.
    """

    def __init__(self, *, threads: int, queue: int) -> None:
        self._offload = Offload(threads=threads, queue=queue)

    def close(self) -> None:
        """End the threads."""
        self._offload.close()

    @cached_property
    def nobodys(self) -> str:
        """The hash of a password that nobody has: verified where there is no account, which takes as long."""
        return self.hash(self.generate())

    def hash(self, password: str) -> str:
        """Return the hash of a new password. Blocks."""
        made: str = _CONTEXT.hash(password)
        return made

    def verify_and_update(self, plain_password: str, hashed_password: str) -> tuple[bool, str | None]:
        """Return whether the password is right, and a better hash of it where there is one to be kept. Blocks."""
        try:
            found: tuple[bool, str | None] = _CONTEXT.verify_and_update(plain_password, hashed_password)
        except ValueError:  # no hash, or bcrypt of a password that it would cut off
            return False, None
        return found

    def generate(self) -> str:
        """Return a password that nobody can guess."""
        return secrets.token_urlsafe(24)

    async def hashed(self, password: str) -> str:
        """Return the hash of a new password."""
        return await self._offload.run(self.hash, password)

    async def verified(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Return whether the password is right, and a better hash to keep; the hash None is nobody's."""
        is_right, better = await self._offload.run(
            self.verify_and_update, password, self.nobodys if hashed is None else hashed
        )
        return (is_right, better) if hashed is not None else (False, None)
