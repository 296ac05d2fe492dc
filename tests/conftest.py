"""What every test may use; the fixtures themselves are in tests/fixtures."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings

# An example takes as long as the host is slow: what bounds work counts steps.
settings.register_profile("any host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any host")

# In the order in which they import each other: what is imported before it is listed warns, and a warning is an error.
pytest_plugins = [
    "tests.fixtures.database",
    "tests.fixtures.app",
    "tests.fixtures.embedded_servers",
    "tests.fixtures.figures",
    "tests.fixtures.modes",
    "tests.fixtures.sockets",
    "tests.fixtures.valkey",
]


# Longer than nearly every test takes.
BEFORE_MIDNIGHT = timedelta(seconds=30)


def pytest_runtest_setup() -> None:
    """Begin no test so late that its day, and it may be its month, would be over before it."""
    now = datetime.now(UTC)
    tomorrow = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if tomorrow - now < BEFORE_MIDNIGHT:
        time.sleep((tomorrow - now).total_seconds())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run heavy proofs with their whole figures")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether proofs run with their whole figures, or with a tenth of them."""
    return bool(request.config.getoption("--full"))
