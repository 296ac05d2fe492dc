"""Books on the worker's database, a jobs' lane that is closed again, and the jobs of a new tenant."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from fanfold.jobs.lane import JobLane
from tests.fixtures.app import Product
from tests.fixtures.database import TestDatabase
from tests.jobs.working import Jobs
from tests.usage.books import Books


@pytest.fixture
def books(database_urls: TestDatabase) -> Books:
    return Books(database_urls)


@pytest.fixture
async def lane(books: Books) -> AsyncIterator[JobLane]:
    async with JobLane(books.connect) as lane:
        yield lane


@pytest.fixture
async def worker(books: Books) -> AsyncIterator[asyncpg.Connection]:
    """A connection by which a worker's steps are taken by hand."""
    connection = await books.connect()
    yield connection
    await connection.close()


@pytest.fixture
async def jobs(product: Product, lane: JobLane, books: Books) -> Jobs:
    """The jobs of a new tenant."""
    return Jobs(product, await product.tenant(), lane, books)
