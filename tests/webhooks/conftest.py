"""A desk on a database of each test's own: a deliverer claims what is due of all tenants."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.database import TestDatabase
from tests.webhooks.desk import Desk, desk_of


@pytest.fixture
async def desk(own_database: TestDatabase) -> AsyncIterator[Desk]:
    async with desk_of(own_database) as desk:
        yield desk
