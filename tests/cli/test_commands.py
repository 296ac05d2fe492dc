"""The commands, in this process, on a real Postgres: exact shapes with `--json`, words and exit codes without."""

import json
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import Result

import fanfold
from fanfold.cli.serve import APPLICATION, uvicorn_options, worker_count
from fanfold.core.config import Settings
from fanfold.core.migrations import head
from tests.fixtures.database import TestDatabase
from tests.fixtures.servers import clean_environment, run_cli

SECRET = "a secret of the tests that is long enough to be taken"


class Cli:
    """Runs commands with settings of their own."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def __call__(self, *arguments: str, text: str | None = None, **env: str) -> Result:
        return run_cli(*arguments, env=self.env | env, text=text)

    def json(self, *arguments: str, **env: str) -> Any:
        result = self(*arguments, "--json", **env)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *arguments: str, code: int = 1, **env: str) -> str:
        """Run a command that must be refused in one line without a traceback, the same with and without `--json`."""
        result = self(*arguments, **env)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("Error") == 1
        as_json = self("--json", *arguments, **env)
        assert as_json.exit_code == code
        text: str = json.loads(as_json.stdout)["error"]
        assert text in result.stderr
        return text


def run_module(module: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


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
def slug() -> str:
    return f"cli-{secrets.token_hex(6)}"


@pytest.fixture
def tenant(cli: Cli, slug: str) -> str:
    cli.json("tenants", "create", slug, "--plan", "pro")
    return slug


class TestTenants:
    def test_create_answers_id_slug_and_plan(self, cli: Cli, slug: str) -> None:
        created = cli.json("tenants", "create", slug, "--plan", "scale", "--name", "株式会社 🙂")
        assert created.keys() == {"id", "slug", "plan"}
        assert (created["slug"], created["plan"]) == (slug, "scale")
        [listed] = cli.json("tenants", "list", "--search", slug)
        assert (listed["id"], listed["name"], listed["status"]) == (created["id"], "株式会社 🙂", "active")

    def test_a_slug_is_taken_once(self, cli: Cli, tenant: str) -> None:
        assert cli.refused("tenants", "create", tenant) == "A tenant with this slug exists already."

    def test_a_slug_has_a_form_and_a_plan_exists(self, cli: Cli, slug: str) -> None:
        assert cli.refused("tenants", "create", "No Slug").startswith("Not valid: slug: ")
        assert "Known: free, pro, scale" in cli.refused("tenants", "create", slug, "--plan", "gold")

    def test_people_get_a_table(self, cli: Cli, tenant: str) -> None:
        result = cli("tenants", "list", "--search", tenant)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[0].split() == ["slug", "name", "plan", "status", "id"]
        assert tenant in result.stdout


class TestKeys:
    def test_a_tenants_key(self, cli: Cli, tenant: str) -> None:
        made = cli.json("keys", "create", "--tenant", tenant, "--scopes", "process,usage:read")
        assert made.keys() == {"id", "key", "scopes"}
        assert made["key"].startswith("ff_live_")
        assert made["scopes"] == ["process", "usage:read"]
        [listed] = cli.json("keys", "list", "--tenant", tenant)
        assert (listed["id"], listed["revoked_at"]) == (made["id"], None)
        assert made["key"] not in json.dumps(listed)

    def test_revoke(self, cli: Cli, tenant: str) -> None:
        made = cli.json("keys", "create", "--tenant", tenant)
        assert cli.json("keys", "revoke", made["id"], "--tenant", tenant) == {
            "id": made["id"],
            "revoked": True,
        }
        [listed] = cli.json("keys", "list", "--tenant", tenant)
        assert listed["revoked_at"]

    def test_an_operators_key(self, cli: Cli) -> None:
        made = cli.json("keys", "create", "--operator", "--name", "night shift")
        assert made.keys() == {"id", "key", "scopes"}
        assert made["scopes"] == ["operator"]
        cli.json("keys", "revoke", made["id"], "--operator")
        listed = {each["id"]: each for each in cli.json("keys", "list", "--operator")}
        assert listed[made["id"]]["revoked_at"]
        assert listed[made["id"]]["name"] == "night shift"

    def test_whose_key_is_said_exactly_once(self, cli: Cli, tenant: str) -> None:
        assert "one of the two" in cli.refused("keys", "create", code=2)
        assert "one of the two" in cli.refused("keys", "create", "--operator", "--tenant", tenant, code=2)

    def test_unknown_tenants_and_scopes_are_refused(self, cli: Cli, tenant: str) -> None:
        assert "fanfold tenants list" in cli.refused("keys", "create", "--tenant", "nobody")
        said = cli.refused("keys", "create", "--tenant", tenant, "--scopes", "process,operator")
        assert said.startswith("Not valid: scopes.1: Input should be 'jobs', 'keys:write'")


class TestUpstreams:
    def test_add_answers_the_upstream_without_its_credential(self, cli: Cli, tenant: str) -> None:
        added = cli.json(
            "upstreams", "add", "--tenant", tenant, "--slug", "ok", "--kind", "openai", "--model", "m",
            "--url", "http://127.0.0.1:9/v1", "--credential-env", "TOKEN", "--units-per-1k-chars", "2",
            "--set", "max_concurrency=8", "--set", "options={\"temperature\": 0.5}", TOKEN="very-secret",
        )  # fmt: skip
        assert added["is_default"] is True
        assert (added["max_concurrency"], added["options"]) == (8, {"temperature": 0.5})
        assert (added["units_per_call"], added["units_per_1k_chars"], added["timeout_s"]) == (1, 2, 60.0)
        assert added["has_credential"] is True
        assert "very-secret" not in json.dumps(added)
        assert cli.json("upstreams", "list", "--tenant", tenant) == [added]

    def test_what_cannot_be_is_refused(self, cli: Cli, tenant: str) -> None:
        add = ("upstreams", "add", "--tenant", tenant, "--slug", "ok", "--kind", "http_json", "--url")
        ok = "http://127.0.0.1:9/"
        assert "FANFOLD_UPSTREAM_ALLOWED_NETWORKS" in cli.refused(*add, "http://10.0.0.1/")
        assert "ABSENT is not set" in cli.refused(*add, ok, "--credential-env", "ABSENT")
        assert "--set takes NAME=JSON" in cli.refused(*add, ok, "--set", "weight", code=2)
        assert "weights: Extra inputs" in cli.refused(*add, ok, "--set", "weights=3")


class TestSecrets:
    def test_a_key_from_the_settings_is_printed_not_changed(self, cli: Cli) -> None:
        new = cli.json("secrets", "rotate")["FANFOLD_SECRET_KEYS"]
        fresh, _, old = new.partition(",")
        assert old == SECRET
        assert len(fresh) >= 32

    def test_reseal_opens_with_the_old_and_seals_with_the_new(
        self, cli: Cli, own_database: TestDatabase
    ) -> None:
        cli = Cli(cli.env | {"FANFOLD_DATABASE_URL": own_database.app_url})
        cli.json("tenants", "create", "acme")
        cli.json(
            "upstreams", "add", "--tenant", "acme", "--slug", "ok", "--kind", "http_json",
            "--url", "http://127.0.0.1:9/", "--credential-env", "TOKEN", TOKEN="very-secret",
        )  # fmt: skip
        new = cli.json("secrets", "rotate")["FANFOLD_SECRET_KEYS"]
        assert cli.json("secrets", "reseal", FANFOLD_SECRET_KEYS=new) == {"resealed": 1}
        said = cli.refused("secrets", "reseal")  # the old key alone opens it no more
        assert "no longer in FANFOLD_SECRET_KEYS" in said

    def test_the_file_of_the_embedded_mode_gets_a_new_key_before_the_old(self, tmp_path: Path) -> None:
        env = {
            "FANFOLD_DATA_DIR": str(tmp_path),
            "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TOKEN": "very-secret",
        }
        cli = Cli(env)
        cli.json("tenants", "create", "acme")
        cli.json(
            "upstreams", "add", "--tenant", "acme", "--slug", "ok", "--kind", "http_json",
            "--url", "http://127.0.0.1:9/", "--credential-env", "TOKEN",
        )  # fmt: skip
        file = tmp_path / "secret.key"
        old = file.read_text()
        assert cli.json("secrets", "rotate") == {"keys": 2, "resealed": 1}
        new, kept = file.read_text().split(",")
        assert (kept, file.stat().st_mode & 0o777) == (old, 0o600)
        file.write_text(new)  # the new key alone opens what was sealed
        assert cli.json("secrets", "reseal") == {"resealed": 1}


class TestServe:
    def test_workers(self) -> None:
        assert worker_count(3) == 3
        assert worker_count("2") == 2
        assert 1 <= worker_count("auto") <= (os.cpu_count() or 1)

    def test_workers_that_import_slowly_are_not_killed(self) -> None:
        config = uvicorn.Config(APPLICATION, **uvicorn_options(Settings(), 4))
        assert config.timeout_worker_healthcheck == 60


class TestMigrate:
    def test_the_owner_migrates(self, cli: Cli, database_urls: TestDatabase) -> None:
        assert cli.json("migrate", FANFOLD_OWNER_DATABASE_URL=database_urls.owner_url) == {
            "from": head(),
            "to": head(),
        }

    def test_people_are_told_that_nothing_was_to_do(self, cli: Cli, database_urls: TestDatabase) -> None:
        result = cli("migrate", FANFOLD_OWNER_DATABASE_URL=database_urls.owner_url)
        assert "the newest one already" in result.stderr

    def test_the_serving_login_may_not(self, cli: Cli) -> None:
        assert "FANFOLD_OWNER_DATABASE_URL" in cli.refused("migrate")


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

    def test_a_weak_secret(self, cli: Cli) -> None:
        said = cli.refused("keys", "create", "--operator", FANFOLD_SECRET_KEYS="short")
        assert "32 characters" in said
        assert "short" not in said.replace("shorter", "")

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


class TestOpenapi:
    def test_it_prints_the_document(self, cli: Cli) -> None:
        document = cli.json("openapi")
        assert document["openapi"].startswith("3.")
        assert "/v1/process" in document["paths"]


class TestUsageErrors:
    def test_wrong_usage_is_exit_code_2(self, cli: Cli) -> None:
        assert "create" in cli.refused("tenants", "creat", code=2)
        assert "--nope" in cli.refused("tenants", "list", "--nope", code=2)

    def test_help_without_arguments(self, cli: Cli) -> None:
        result = cli()
        assert result.exit_code == 0
        assert "tenants" in result.stdout

    @pytest.mark.parametrize(
        ("command", "placeholders"),
        [
            (("process",), ["  FILE ", "--upstream TEXT", "--size NUMBER"]),
            (("tenants", "create"), ["  SLUG ", "--plan TEXT"]),
            (("keys", "revoke"), ["  KEY_ID "]),
        ],
    )
    def test_help_has_placeholders_of_people_and_json(
        self, cli: Cli, command: tuple[str, ...], placeholders: list[str]
    ) -> None:
        shown = cli(*command, "--help").stdout
        assert "--json " in shown
        assert [each for each in placeholders if each not in shown] == []

    def test_a_server_prints_no_result(self, cli: Cli) -> None:
        assert "--json" not in cli("serve", "--help").stdout

    def test_the_version_as_json(self, cli: Cli) -> None:
        assert cli.json("--version") == {"version": fanfold.__version__}

    def test_after_two_dashes_json_is_a_name(self, cli: Cli) -> None:
        result = cli("tenants", "create", "--", "--json")
        assert result.stdout == ""
        assert "Not valid: slug" in result.stderr
