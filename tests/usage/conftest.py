"""Books on the worker's database, and ledgers that are closed again."""

from collections.abc import AsyncIterator

import pytest

from fanfold.usage.ledger import Ledger
from tests.fixtures.database import TestDatabase
from tests.usage.books import Books


@pytest.fixture
def books(database_urls: TestDatabase) -> Books:
    return Books(database_urls)


@pytest.fixture
async def ledger(books: Books) -> AsyncIterator[Ledger]:
    async with Ledger(books.connect) as ledger:
        yield ledger


@pytest.fixture
async def two_ledgers(books: Books) -> AsyncIterator[tuple[Ledger, Ledger]]:
    async with Ledger(books.connect) as first, Ledger(books.connect) as second:
        yield first, second
