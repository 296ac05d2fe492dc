import pytest

from fanfold.fanout.splitters import tokens


@pytest.fixture(scope="session", autouse=True)
def vocabulary():
    """Loaded before any test, so that none has the time of it on its own account."""
    tokens.load()
