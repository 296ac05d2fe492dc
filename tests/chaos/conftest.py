"""Two server processes on one database for the whole run, and what each proof sees of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.chaos.books import Books, open_books
from tests.chaos.world import World, open_world
from tests.fixtures.database import TestDatabase
from tests.fixtures.server_processes import ServerProcess, start_together
from tests.zoo import Zoo


@pytest.fixture(scope="session")
def _pair(
    database_urls: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two processes, not yet started."""
    folder: Path = tmp_path_factory.mktemp("servers")
    one, two = (ServerProcess(database_urls, folder / f"{name}.log") for name in ("one", "two"))
    try:
        yield one, two
    finally:
        one.stop()
        two.stop()


@pytest.fixture
def servers(_pair: tuple[ServerProcess, ServerProcess]) -> tuple[ServerProcess, ServerProcess]:
    """Both of them ready, also where a test before has ended one."""
    start_together(*(server for server in _pair if not server.is_running))
    return _pair


@pytest.fixture
async def world(database_urls: TestDatabase) -> AsyncIterator[World]:
    async with open_world(database_urls) as world:
        yield world


@pytest.fixture
async def books(database_urls: TestDatabase) -> AsyncIterator[Books]:
    async with open_books(database_urls) as books:
        yield books


@pytest.fixture
async def zoo() -> AsyncIterator[Zoo]:
    async with Zoo() as zoo:
        yield zoo
