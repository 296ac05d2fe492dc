"""The commands, in this process, on a real Postgres: exact shapes with `--json`, words and exit codes without."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.server import ServerState

import fanfold
from fanfold.cli.serve import APPLICATION, uvicorn_options, worker_count
from fanfold.core.config import ServerSettings, Settings
from fanfold.core.revisions import head
from fanfold.core.socket_protocol import SocketProtocol
from tests.cli.running import SECRET, Cli
from tests.fixtures.database import TestDatabase


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
        told = cli.refused("tenants", "create", slug, "--plan", "gold")
        assert "Known: " in told
        assert all(plan in told for plan in ("free", "pro", "scale"))

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

    def test_limits_of_its_own(self, cli: Cli, tenant: str) -> None:
        cli.json("keys", "create", "--tenant", tenant, "--budget", "500", "--max-concurrent", "2")
        [listed] = cli.json("keys", "list", "--tenant", tenant)
        assert (listed["budget_units"], listed["max_concurrent_requests"]) == (500, 2)
        said = cli.refused("keys", "create", "--tenant", tenant, "--max-concurrent", "0")
        assert said.startswith("Not valid: max_concurrent_requests")

    @pytest.mark.parametrize("limit", ["--budget", "--max-concurrent"])
    def test_an_operators_key_has_no_limits(self, cli: Cli, limit: str) -> None:
        assert "no limits" in cli.refused("keys", "create", "--operator", limit, "1", code=2)


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
        (price,) = cli.json("upstreams", "prices", "ok", "--tenant", tenant)
        assert (price["units_per_1k_chars"], price["effective_until"]) == (2, None)
        assert "no upstream `none`" in cli.refused("upstreams", "prices", "none", "--tenant", tenant)

    def test_an_anthropic_upstream_has_its_own_header(self, cli: Cli, tenant: str) -> None:
        added = cli.json(
            "upstreams", "add", "--tenant", tenant, "--slug", "claude", "--kind", "anthropic", "--model", "m",
            "--url", "https://api.anthropic.com", "--credential-env", "TOKEN", "--set", 'options={"max_tokens": 9}',
            TOKEN="very-secret",
        )  # fmt: skip
        assert added["auth"] == {"header": "x-api-key", "scheme": None}
        assert (added["timeout_s"], added["idempotent"], added["options"]) == (60.0, True, {"max_tokens": 9})

    @pytest.mark.usefixtures("shared_after")
    def test_what_all_share_is_added_listed_and_tested(self, cli: Cli, tenant: str, slug: str) -> None:
        added = cli.json(
            "upstreams", "add", "--shared", "--slug", slug, "--kind", "echo", "--url", "https://a.example"
        )
        assert (added["shared"], added["is_default"]) == (True, False)
        assert cli.json("upstreams", "list", "--shared") == [added]
        assert cli.json("upstreams", "list", "--tenant", tenant) == [added]
        assert len(cli.json("upstreams", "prices", slug, "--shared")) == 1
        assert "no upstream" in cli.refused("upstreams", "prices", slug, "--tenant", tenant)
        tried = cli.json("upstreams", "test", "--shared", "--slug", slug)
        assert (tried["success"], tried["result"], tried["advice"]) == (True, "Hello, 世界", None)

    def test_a_test_that_fails_says_why_and_exits_with_1(self, cli: Cli, tenant: str) -> None:
        url = ("--url", "http://127.0.0.1:9/")
        cli.json("upstreams", "add", "--tenant", tenant, "--slug", "ok", "--kind", "http_json", *url)
        tried = cli("upstreams", "test", "--tenant", tenant, "--slug", "ok")
        assert (tried.exit_code, "Nothing takes connections" in tried.stdout) == (1, True)
        as_json = cli("upstreams", "test", "--tenant", tenant, "--slug", "ok", "--json")
        assert (as_json.exit_code, json.loads(as_json.stdout)["error"]["code"]) == (1, "connect")

    def test_whose_upstream_is_said_exactly_once(self, cli: Cli, tenant: str) -> None:
        for command in (("list",), ("test", "--slug", "x"), ("prices", "x")):
            for owner in ((), ("--shared", "--tenant", tenant)):
                assert "one of the two" in cli.refused("upstreams", *command, *owner, code=2)

    def test_what_cannot_be_is_refused(self, cli: Cli, tenant: str) -> None:
        add = ("upstreams", "add", "--tenant", tenant, "--slug", "ok", "--kind", "http_json", "--url")
        ok = "http://127.0.0.1:9/"
        assert "FANFOLD_UPSTREAM_ALLOWED_NETWORKS" in cli.refused(*add, "http://10.0.0.1/")
        assert "ABSENT is not set" in cli.refused(*add, ok, "--credential-env", "ABSENT")
        assert "--set takes NAME=JSON" in cli.refused(*add, ok, "--set", "weight", code=2)
        assert "weights: Extra inputs" in cli.refused(*add, ok, "--set", "weights=3")


RESEALED = {
    "upstreams_resealed": 1,
    "webhooks_resealed": 0,
    "signing_keys_resealed": 0,
    "second_factors_resealed": 0,
    "job_texts_resealed": 0,
    "not_opened": 0,
}


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
        cli.json(
            "upstreams", "add", "--shared", "--slug", "ok", "--kind", "http_json",
            "--url", "http://127.0.0.1:9/", "--credential-env", "TOKEN", TOKEN="very-secret",
        )  # fmt: skip
        new = cli.json("secrets", "rotate")["FANFOLD_SECRET_KEYS"]
        assert cli.json("secrets", "reseal", FANFOLD_SECRET_KEYS=new) == {**RESEALED, "upstreams_resealed": 2}
        assert (
            cli.json("secrets", "reseal", FANFOLD_SECRET_KEYS=new.partition(",")[0])["upstreams_resealed"]
            == 2
        )
        last = cli("secrets", "reseal", "--json")  # the old key alone opens them no more
        assert (last.exit_code, json.loads(last.stdout)) == (
            1,
            {**RESEALED, "upstreams_resealed": 0, "not_opened": 2},
        )
        assert "2 did not open with any key of FANFOLD_SECRET_KEYS" in cli("secrets", "reseal").stderr

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
        rotated = cli.json("secrets", "rotate")
        assert rotated == {
            "keys": 2,
            "signing_key": rotated["signing_key"],
            **RESEALED,
            "signing_keys_resealed": 1,
        }
        new, kept = file.read_text().split(",")
        assert (kept, file.stat().st_mode & 0o777) == (old, 0o600)
        file.write_text(new)  # the new key alone opens what was sealed
        assert cli.json("secrets", "reseal") == {**RESEALED, "signing_keys_resealed": 1}


class TestServe:
    def test_workers(self) -> None:
        assert worker_count(3) == 3
        assert worker_count("2") == 2
        assert 1 <= worker_count("auto") <= (os.cpu_count() or 1)

    def test_workers_that_import_slowly_are_not_killed(self) -> None:
        config = uvicorn.Config(APPLICATION, **uvicorn_options(Settings(), 4))
        assert config.timeout_worker_healthcheck == 60

    async def test_sockets_of_strangers_fill_no_memory(self) -> None:
        config = uvicorn.Config(FastAPI(), **uvicorn_options(Settings(), 1))
        speaks: Any = pickle.loads(pickle.dumps(config.ws))
        socket = speaks(config=config, server_state=ServerState(), app_state={})
        assert isinstance(socket, SocketProtocol)
        assert not config.ws_per_message_deflate

    @pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 86_401, -1])
    @pytest.mark.parametrize("name", ["drain_s", "drain_delay_s"])
    def test_a_stop_has_an_end(self, name: str, seconds: float) -> None:
        with pytest.raises(ValidationError):
            ServerSettings.model_validate({name: seconds})


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
