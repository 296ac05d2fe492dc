"""A topic of each test's own, on the worker's database."""

import secrets

import pytest

from tests.fixtures.database import TestDatabase
from tests.outbox.box import Box


@pytest.fixture
def box(database_urls: TestDatabase) -> Box:
    return Box(database_urls, f"test.{secrets.token_hex(8)}")
