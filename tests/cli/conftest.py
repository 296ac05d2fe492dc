"""The command line on the run's database."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanfold.upstreams.models import SHARED
from tests.cli.running import SECRET, Cli
from tests.core.asking import execute
from tests.fixtures.database import TestDatabase


@pytest.fixture
def cli(database_urls: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)  # no `.env` of a developer counts
    env = {
        "FANFOLD_DATABASE_URL": database_urls.app_url,
        "FANFOLD_SECRET_KEYS": SECRET,
        "FANFOLD_DATA_DIR": str(tmp_path / "data"),
        "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    return Cli(env)


@pytest.fixture
def shared_after(database_urls: TestDatabase) -> Iterator[None]:
    """What all tenants share ends with the test: the database is others' too."""
    yield
    execute(database_urls.superuser_url, f"delete from fanfold.upstreams where tenant_id = '{SHARED}'")


@pytest.fixture
def slug() -> str:
    return f"cli-{secrets.token_hex(6)}"


@pytest.fixture
def tenant(cli: Cli, slug: str) -> str:
    cli.json("tenants", "create", slug, "--plan", "pro")
    return slug
