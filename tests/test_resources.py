"""What a server opens at its start: where several things fail, it is said which."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fanfold import resources
from fanfold.core.config import Settings
from fanfold.core.db import Database, RoleTooStrong
from fanfold.resources import open_resources
from tests.fixtures.app import product_settings
from tests.fixtures.database import TestDatabase


async def test_what_is_wrong_with_the_database_is_said_first(
    monkeypatch: pytest.MonkeyPatch, database_urls: TestDatabase
) -> None:
    @asynccontextmanager
    async def refused(_settings: Settings) -> AsyncIterator[Database]:
        raise RoleTooStrong("it owns the tables")
        yield

    def unreadable() -> None:
        raise FileNotFoundError("authorities")

    monkeypatch.setattr(resources, "open_database", refused)
    monkeypatch.setattr(resources, "_encryption", unreadable)
    with pytest.raises(RoleTooStrong):
        async with open_resources(product_settings(database_urls)):
            pass
