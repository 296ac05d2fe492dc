"""What is wrong is said in one line that tells what to do: at the start, and by doctor."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import SECRET, Cli, run_module
from tests.fixtures.database import TestDatabase


class TestStartUpErrors:
    @pytest.mark.parametrize("who", ["owner_url", "superuser_url"])
    @pytest.mark.parametrize("command", [("tenants", "list"), ("serve", "--workers", "2")])
    def test_an_owners_address_alone_is_refused_and_says_what_to_make(
        self, cli: Cli, database_urls: TestDatabase, who: str, command: tuple[str, ...]
    ) -> None:
        env = {"FANFOLD_DATABASE_URL": getattr(database_urls, who), "FANFOLD_PORT": "0"}
        said = cli.refused(*command, **env)
        assert "CREATE ROLE fanfold_app LOGIN PASSWORD" in said
        assert "FANFOLD_OWNER_DATABASE_URL" in said

    def test_an_owner_of_an_empty_database_is_refused_too(
        self, cli: Cli, fresh_database: TestDatabase
    ) -> None:
        said = cli.refused("tenants", "list", FANFOLD_DATABASE_URL=fresh_database.owner_url)
        assert "CREATE ROLE fanfold_app LOGIN PASSWORD" in said

    @pytest.mark.parametrize("command", [("demo", "--once"), ("serve",)])
    def test_a_port_in_use_names_the_setting(self, cli: Cli, command: tuple[str, ...]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            said = cli.refused(*command, FANFOLD_PORT=port)
        assert port in said
        assert "FANFOLD_PORT" in said

    @pytest.mark.parametrize(
        "command",
        [("keys", "create", "--operator"), ("serve",), ("serve", "--workers", "2")],
    )
    @pytest.mark.parametrize("secret", ["short", "changeme-changeme-changeme-changeme"])
    def test_a_weak_secret(self, cli: Cli, command: tuple[str, ...], secret: str) -> None:
        said = cli.refused(*command, FANFOLD_SECRET_KEYS=secret, FANFOLD_PORT="0")
        assert "FANFOLD_SECRET_KEYS" in said
        assert "token_urlsafe" in said
        assert secret not in said.replace("shorter", "")

    @pytest.mark.parametrize("command", [("keys", "create", "--operator"), ("serve",)])
    def test_no_secret_with_a_database_of_ones_own(self, cli: Cli, command: tuple[str, ...]) -> None:
        said = cli.refused(*command, FANFOLD_SECRET_KEYS="", FANFOLD_PORT="0")
        assert said.startswith("FANFOLD_SECRET_KEYS needs at least one key of 32 characters or more.")

    def test_a_setting_that_does_not_hold_is_named_without_its_value(self, cli: Cli) -> None:
        assert cli.refused("tenants", "list", FANFOLD_PORT="many") == (
            "Not valid: FANFOLD_PORT (environment): Input should be a valid integer, unable to parse string as an "
            "integer."
        )
        Path(".env").write_text("FANFOLD_LOG_LEVEL=loud\n")
        said = cli.refused("doctor")
        assert said.startswith("Not valid: FANFOLD_LOG_LEVEL (.env): ")
        assert "loud" not in said

    def test_each_setting_is_named_once_by_the_name_that_was_used(self, cli: Cli) -> None:
        said = cli.refused("tenants", "list", PORT="many")
        assert said.startswith("Not valid: PORT (environment): ")
        said = cli.refused("tenants", "list", FANFOLD_TRUSTED_PROXIES="one,two")
        assert said.count("FANFOLD_TRUSTED_PROXIES") == 1
        assert "function" not in said

    def test_an_env_file_that_is_no_text(self, cli: Cli) -> None:
        Path(".env").write_bytes(b"FANFOLD_HOST=\xff\xfe")
        assert cli.refused("doctor") == ".env is not UTF-8 text: save it as UTF-8, or remove it."

    @pytest.mark.parametrize(
        ("arguments", "code"), [(("--help",), 0), (("--version",), 0), (("doctor",), 1), (("nope",), 2)]
    )
    def test_a_process_of_its_own_says_it_without_a_traceback(
        self, tmp_path: Path, arguments: tuple[str, ...], code: int
    ) -> None:
        (tmp_path / ".env").write_bytes(b"FANFOLD_PORT=abc\nno such line\n\xff")
        ended = run_module("fanfold", *arguments, folder=tmp_path)
        assert ended.returncode == code
        assert "Traceback" not in ended.stderr

    def test_a_line_of_env_that_is_none_is_told_once(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("FANFOLD_PORT=abc\nno such line\n")
        ended = run_module("fanfold", "tenants", "list", folder=tmp_path)
        assert ended.stderr.splitlines()[0] == ".env, line 2: not NAME=VALUE, so it does not count."
        assert len(ended.stderr.splitlines()) == 2

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_uvicorn_ends_with_the_words_too(self, tmp_path: Path, workers: str) -> None:
        (tmp_path / ".env").write_text("FANFOLD_LOG_LEVEL=loud\n")
        arguments = ("fanfold.main:app", "--port", "0", "--workers", workers)
        ended = run_module("uvicorn", *arguments, folder=tmp_path)
        assert "Cannot start. Not valid: FANFOLD_LOG_LEVEL (.env): " in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_no_server_at_that_address(self, cli: Cli) -> None:
        url = "postgresql://somebody:very-secret@127.0.0.1:1/fanfold"
        said = cli.refused("tenants", "list", FANFOLD_DATABASE_URL=url)
        assert "The database cannot be reached" in said
        assert "very-secret" not in said

    def test_an_address_that_is_none(self, cli: Cli) -> None:
        said = cli.refused("tenants", "list", FANFOLD_DATABASE_URL="my database")
        assert "postgresql://user:password@host:5432/database" in said

    def test_a_database_that_is_not_migrated(self, cli: Cli, fresh_database: TestDatabase) -> None:
        said = cli.refused("tenants", "list", FANFOLD_DATABASE_URL=fresh_database.app_url)
        assert "fanfold migrate" in said


class TestDoctor:
    @pytest.fixture
    def cli(self, cli: Cli, own_database: TestDatabase) -> Cli:
        """On a database of its own: in the run's others leave what is sealed with keys of theirs."""
        return Cli(cli.env | {"FANFOLD_DATABASE_URL": own_database.app_url})

    def test_all_is_well(self, cli: Cli) -> None:
        found = cli.json("doctor", FANFOLD_PORT="0")
        assert found["ok"] is True
        assert {check["name"] for check in found["checks"]} >= {"database", "secret keys", "port"}
        shown = {each["name"]: each for each in found["settings"]}
        assert shown["FANFOLD_PORT"] == {"name": "FANFOLD_PORT", "value": 0, "source": "environment"}
        assert shown["FANFOLD_LOG_LEVEL"]["source"] == "default"
        assert SECRET not in json.dumps(found)

    def test_dotenv_is_a_source_and_passwords_are_masked(self, cli: Cli) -> None:
        Path(".env").write_text("FANFOLD_OWNER_DATABASE_URL=postgresql://owner:very-secret@db/fanfold\n")
        shown = {each["name"]: each for each in cli.json("doctor", FANFOLD_PORT="0")["settings"]}
        assert shown["FANFOLD_OWNER_DATABASE_URL"] == {
            "name": "FANFOLD_OWNER_DATABASE_URL",
            "value": "postgresql://owner:***@db/fanfold",
            "source": ".env",
        }

    def test_a_misspelt_name_is_told_with_the_one_that_was_meant(self, cli: Cli) -> None:
        Path(".env").write_text("FANFOLD_LOGLEVEL=DEBUG\n")
        env = {"FANFOLD_PORT": "0", "FANFOLD_PROT": "1"}
        [check] = [check for check in cli.json("doctor", **env)["checks"] if check["name"] == "settings"]
        assert "FANFOLD_PROT (environment), FANFOLD_LOGLEVEL (.env)" in check["detail"]
        assert "FANFOLD_PORT for FANFOLD_PROT, FANFOLD_LOG_LEVEL for FANFOLD_LOGLEVEL" in check["remedy"]
        assert "warn  settings: " in cli("doctor", **env).stdout

    def test_values_are_shown_as_they_are_written(self, cli: Cli) -> None:
        result = cli("doctor", FANFOLD_PORT="0", FANFOLD_TRUSTED_PROXIES="10.0.0.0/8,192.0.2.1")
        shown = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
        assert shown["FANFOLD_TRUSTED_PROXIES"] == ["10.0.0.0/8,192.0.2.1/32", "environment"]
        assert shown["FANFOLD_DOCS"] == ["true", "default"]
        assert shown["FANFOLD_METRICS_PORT"] == ["default"]

    def test_the_file_of_the_embedded_mode_is_the_source_of_its_key(self, tmp_path: Path) -> None:
        found = Cli({"FANFOLD_DATA_DIR": str(tmp_path)}).json("doctor", FANFOLD_PORT="0")
        [ring] = [each for each in found["settings"] if each["name"] == "FANFOLD_SECRET_KEYS"]
        assert ring["source"] == str(tmp_path / "secret.key")
        assert ring["value"] == ["********"]

    def test_an_address_that_nobody_set_is_a_warning_with_a_database_of_ones_own(self, cli: Cli) -> None:
        def found(**env: str) -> dict[str, Any]:
            checks = cli.json("doctor", FANFOLD_PORT="0", **env)["checks"]
            [check] = [check for check in checks if check["name"] == "public address"]
            return dict(check)

        missing, set_ = found(), found(FANFOLD_PUBLIC_URL="https://api.example.com/")
        assert (missing["ok"], "FANFOLD_PUBLIC_URL" in missing["remedy"]) == (True, True)
        assert (set_["detail"], set_["remedy"]) == ("https://api.example.com", None)

    def test_every_fault_comes_with_its_remedy_and_exit_code_1(self, cli: Cli) -> None:
        env = {"FANFOLD_DATABASE_URL": "postgresql://me:pw@127.0.0.1:1/x", "FANFOLD_SECRET_KEYS": "short"}
        with socket.create_server(("127.0.0.1", 0)) as taken:
            env["FANFOLD_PORT"] = str(taken.getsockname()[1])
            result = cli("doctor", "--json", **env)
        assert result.exit_code == 1
        wrong = [check for check in json.loads(result.stdout)["checks"] if not check["ok"]]
        assert {check["name"] for check in wrong} == {"database", "secret keys", "port"}
        assert all(check["remedy"] for check in wrong)
        assert {check["detail"] for check in wrong} == {"not as it must be"}
