"""Which database is meant: the settings decide, and where they name none, the embedded one."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from fanfold.core.blocking import run_blocking
from fanfold.core.config import DatabaseSettings
from fanfold.core.database_urls import DatabaseUrls, database_urls
from tests.fixtures.database import connect


def test_addresses_of_the_settings_are_given_as_they_are(tmp_path: Path) -> None:
    settings = DatabaseSettings(
        url=SecretStr("postgres://app@db/x"),
        owner_url=SecretStr("postgres://owner@db/x"),
        data_dir=tmp_path / "data",
    )

    with database_urls(settings) as urls:
        assert urls == DatabaseUrls(owner="postgres://owner@db/x", app="postgres://app@db/x")
    assert not (tmp_path / "data").exists()


def test_one_address_alone_starts_no_server_of_our_own(tmp_path: Path) -> None:
    somebody, data_dir = SecretStr("postgres://someone@db/x"), tmp_path / "data"
    for settings in (
        DatabaseSettings(url=somebody, owner_url=None, data_dir=data_dir),
        DatabaseSettings(url=None, owner_url=somebody, data_dir=data_dir),
    ):
        with database_urls(settings) as urls:
            assert {urls.owner, urls.app} == {None, "postgres://someone@db/x"}
    assert not (tmp_path / "data").exists()


def test_without_an_address_the_embedded_server_runs_as_long_as_it_is_in_use(tmp_path: Path) -> None:
    async def log_in(url: str) -> str:
        connection = await connect(url)
        try:
            return str(await connection.fetchval("SELECT current_user || ' in ' || current_database()"))
        finally:
            await connection.close()

    with database_urls(DatabaseSettings(url=None, owner_url=None, data_dir=tmp_path / "data")) as urls:
        assert urls.owner is not None
        assert run_blocking(log_in(urls.owner)) == "fanfold_owner in fanfold"
    with pytest.raises(OSError, match=r"No such file|refused"):
        run_blocking(log_in(urls.owner))
