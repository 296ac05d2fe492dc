"""One running application for each module: its tests make tenants of their own and share its event loop."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(database_urls: TestDatabase) -> AsyncIterator[Product]:
    async with running_product(database_urls, product_settings(database_urls)) as product:
        yield product
