"""What every test may use; the fixtures themselves are in tests/fixtures."""

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
    "tests.fixtures.midnight",
    "tests.fixtures.modes",
    "tests.fixtures.sockets",
    "tests.fixtures.valkey",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run heavy proofs with their whole figures")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether proofs run with their whole figures, or with a tenth of them."""
    return bool(request.config.getoption("--full"))
