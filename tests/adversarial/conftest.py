"""What the tests of a module share: the running application, and a zoo beside it."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from tests.fixtures.app import Product, product_of
from tests.fixtures.database import TestDatabase


@pytest.fixture(scope="module")
async def arena(running_app: FastAPI, database_urls: TestDatabase) -> AsyncIterator[Product]:
    async with product_of(running_app, database_urls) as product:
        yield product
