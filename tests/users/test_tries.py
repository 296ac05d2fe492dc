"""Tries that cannot be counted: nobody is refused, and mails are sent."""

from collections.abc import Sequence

from fanfold.core.config import IdentitySettings
from fanfold.ratelimit.base import Bucket, Decision
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.stores.memory import MemoryStore
from fanfold.users.tries import AccountTries


class Away(MemoryStore):
    """A store that nobody reaches."""

    async def take(self, _buckets: Sequence[Bucket]) -> Decision:
        raise StoreUnavailable


async def test_a_store_that_is_away_locks_nobody_out():
    tries = AccountTries(Away(), IdentitySettings())
    await tries.take("ada@example.com", "192.0.2.1")
    assert await tries.may_mail("mail.verification", "ada@example.com")
