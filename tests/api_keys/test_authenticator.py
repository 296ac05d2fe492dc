"""Made-up keys cost a query each; they may not have all connections."""

import asyncio
from contextlib import asynccontextmanager

from fanfold.api_keys.authenticator import MAX_LOOK_UPS, KeyAuthenticator
from fanfold.api_keys.keys import issue
from fanfold.core.crypto import KeyRing
from tests.fixtures.app import SECRET


class Busy:
    """A database that counts who uses it at once, and knows nobody."""

    def __init__(self):
        self.now = self.most = 0

    @asynccontextmanager
    async def begin(self):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield self
        finally:
            self.now -= 1

    async def execute(self, *_statement):
        await asyncio.sleep(0.001)
        return self

    def mappings(self):
        return self

    def first(self):
        return None


async def test_a_flood_of_made_up_keys_leaves_connections_to_others():
    database = Busy()
    authenticator = KeyAuthenticator(database, KeyRing([SECRET]))  # type: ignore[arg-type]  # a fake
    keys = [issue().key.get_secret_value() for _ in range(100)]
    assert await asyncio.gather(*map(authenticator.authenticate, keys)) == [None] * 100
    assert database.most == MAX_LOOK_UPS
