"""Passwords: argon2id, hashed in a small pool of threads; bcrypt of elsewhere is verified, and upgraded."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from typing import Any

from fanfold.core.lazily import on_call
from fanfold.core.offload import Offload
from fanfold.users.errors import not_valid

# Of a server where nobody signs in. The first who does has it imported in a thread.
CryptContext = on_call("passlib.context", "CryptContext")
# With lists of words, of which no process needs one before somebody chooses a password.
weakness = on_call("fanfold.users.strength", "weakness")

FEWEST_CHARACTERS, MOST_CHARACTERS = 8, 128
_BCRYPT, _BCRYPT_BYTES = "$2", 72

# OWASP's password storage cheat sheet: argon2id with 19 MiB, two passes, one lane.
_KIB, _PASSES, _LANES = 19 * 1024, 2, 1
_SALT_BYTES, _DIGEST_BYTES = 16, 32


@cache
def _context() -> Any:
    return CryptContext(
        schemes=["argon2", "bcrypt"],
        deprecated=["bcrypt"],
        argon2__type="ID",
        argon2__memory_cost=_KIB,
        argon2__time_cost=_PASSES,
        argon2__parallelism=_LANES,
    )


def hash_of_none() -> str:
    """Return a hash that no password has: made up, since that takes no time. To verify it takes as long as any."""
    salt, digest = (
        b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (_SALT_BYTES, _DIGEST_BYTES)
    )
    return f"$argon2id$v=19$m={_KIB},t={_PASSES},p={_LANES}${salt}${digest}"


class Passwords:
    """Judges, hashes and verifies off the event loop; raises `Overloaded` where too many wait already.

    `hash`, `verify_and_update` and `generate` are fastapi-users' `PasswordHelperProtocol`: they block.
    """

    def __init__(self, *, threads: int, queue: int) -> None:
        self._offload = Offload(threads=threads, queue=queue)
        self._nobodys = hash_of_none()  # verified where there is no account

    def close(self) -> None:
        """End the threads."""
        self._offload.close()

    def hash(self, password: str) -> str:
        """Return the hash of a new password. Blocks."""
        made: str = _context().hash(password)
        return made

    def verify_and_update(self, plain_password: str, hashed_password: str) -> tuple[bool, str | None]:
        """Return whether the password is right, and a better hash of it where there is one to be kept. Blocks."""
        try:
            if hashed_password.startswith(_BCRYPT):
                return self._verify_bcrypt(plain_password, hashed_password)
            found: tuple[bool, str | None] = _context().verify_and_update(plain_password, hashed_password)
        except ValueError:  # no hash, or a password that its scheme cannot hold
            return False, None
        return found

    def _verify_bcrypt(self, password: str, hashed: str) -> tuple[bool, str | None]:
        # bcrypt reads 72 bytes; who made the hash cut the rest off without a word.
        is_right = bool(_context().verify(password.encode()[:_BCRYPT_BYTES], hashed))
        return is_right, self.hash(password) if is_right else None

    def generate(self) -> str:
        """Return a password that nobody can guess."""
        return secrets.token_urlsafe(24)

    async def hashed(self, password: str) -> str:
        """Return the hash of a new password."""
        return await self._offload.run(self.hash, password)

    async def chosen(self, password: str, *, known: Sequence[str], member: str = "password") -> str:
        """Return the hash of a password that somebody chose; a 422 where it is too easy to guess."""
        return await self._offload.run(self._choose, password, known, member)

    def _choose(self, password: str, known: Sequence[str], member: str) -> str:
        if reason := weakness(password, known):
            raise not_valid(member, reason, "password")
        return self.hash(password)

    async def verified(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Return whether the password is right, and a better hash to keep; without a hash it takes as long."""
        is_right, better = await self._offload.run(self._verify, password, hashed)
        return (is_right, better) if hashed else (False, None)

    def _verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        return self.verify_and_update(password, hashed or self._nobodys)
