"""The demo, as somebody meets it: once, again, used while it serves, and ended with Ctrl-C."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanfold.cli.demo import curl_line, demo_settings
from fanfold.core.config import FanOutSettings, Settings, TelemetrySettings
from fanfold.demo.sample import sample_text
from tests.fixtures.database import TestDatabase
from tests.fixtures.servers import ServerProcess, clean_environment, run_cli

DEMO = ("-m", "fanfold", "demo")


@dataclass(frozen=True, slots=True)
class Demo:
    """What two runs in one data directory showed: the first with `--once`, the second serves."""

    first: dict[str, Any]
    first_stderr: str
    server: ServerProcess
    key: str
    curl: list[str]

    def cli(self, *arguments: str, text: str | None = None, key: str | None = None) -> Any:
        env = {"FANFOLD_API_KEY": key or self.key, "FANFOLD_URL": self.server.url}
        return run_cli(*arguments, env=env, text=text)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    env = {"FANFOLD_DATA_DIR": str(folder / "data"), "FANFOLD_PORT": "0"}
    once = run_once(folder, env)
    assert once.returncode == 0, once.stderr
    print("first run:", once.stderr.splitlines()[0])
    server = ServerProcess(folder, command=DEMO)
    server.start()
    try:
        _wait_for(server, "Serving. Ctrl-C stops it.")
        print("second run:", server.log.splitlines()[0])
        line = next(line for line in server.log.splitlines() if "curl http" in line)
        curl = shlex.split(line.partition("curl ")[2])
        yield Demo(json.loads(once.stdout), once.stderr, server, re.findall(r"ff_live_\w+", line)[0], curl)
    finally:
        server.stop()


def run_once(folder: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *DEMO, "--once", "--json"],
        cwd=folder,
        env=clean_environment() | env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def _wait_for(server: ServerProcess, words: str) -> None:
    deadline = time.monotonic() + 120
    while words not in server.log:
        assert server.process is not None
        assert server.process.poll() is None, server.log
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)


def test_once_shows_the_answer_and_ends(demo: Demo) -> None:
    answer = demo.first["answer"]
    assert answer["status"] == "succeeded"
    assert answer["total"] == len(answer["results"]) > 5
    assert answer["output"] == "\n\n".join(result["result"] for result in answer["results"])
    assert answer["usage"]["characters"] == len(sample_text())
    assert answer["usage"]["units"] == sum(result["units"] for result in answer["results"]) > answer["total"]
    assert demo.first["docs"] == f"{demo.first['url']}/docs"


def test_once_says_that_the_server_has_ended(demo: Demo) -> None:
    assert "The server has ended" in demo.first_stderr
    assert "without --once it goes on serving" in demo.first_stderr
    assert "The server has ended" not in demo.server.log


def test_people_see_answer_report_bill_key_and_docs(demo: Demo) -> None:
    shown = demo.server.log
    for words in ("Folded answer", "units billed", "summarize", f"{demo.server.url}/docs", demo.key, "12/12"):
        assert words in shown
    assert "Traceback" not in shown
    assert f"export FANFOLD_URL={demo.server.url} FANFOLD_API_KEY={demo.key}\n" in shown
    assert "until the demo is run again" in shown


def test_the_curl_line_works_when_pasted(demo: Demo) -> None:
    url, *options = demo.curl
    assert options[0::2] == ["-H", "-H", "-d"]
    headers = dict(option.split(": ", 1) for option in options[1:4:2])
    answer = httpx.post(url, headers=headers, content=options[5], timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "succeeded"
    assert answer.json()["total"] == 2


def test_the_docs_open(demo: Demo) -> None:
    assert httpx.get(f"{demo.server.url}/docs", timeout=30).status_code == 200


def test_a_second_run_keeps_the_tenant_and_revokes_the_first_runs_key(demo: Demo) -> None:
    env = {"FANFOLD_DATA_DIR": str(demo.server.data_dir)}
    listed = json.loads(run_cli("tenants", "list", "--json", env=env).stdout)
    assert [(tenant["slug"], tenant["plan"]) for tenant in listed] == [("demo", "pro")]
    old = httpx.get(f"{demo.server.url}/v1/usage", headers={"X-API-Key": demo.first["key"]}, timeout=30)
    assert old.status_code == 401
    upstreams = json.loads(run_cli("upstreams", "list", "--tenant", "demo", "--json", env=env).stdout)
    assert {upstream["slug"]: upstream["is_default"] for upstream in upstreams} == {
        "summarize": True,
        "chat": False,
    }


class TestProcess:
    """`fanfold process`, on the demo's server."""

    def test_a_file(self, demo: Demo, tmp_path: Path) -> None:
        file = tmp_path / "文.txt"
        file.write_text("第一句话。第二句话。 A sentence. مرحبا بالعالم. 👩‍👩‍👧‍👦")
        result = demo.cli("process", str(file), "--split", "sentences", "--size", "6", "--json")
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert answer["status"] == "succeeded"
        assert answer["usage"]["characters"] == len(file.read_text())

    def test_standard_input_for_people_with_other_upstreams(self, demo: Demo) -> None:
        options = (
            "--upstream",
            "summarize",
            "--upstream",
            "chat",
            "--strategy",
            "broadcast",
            "--fold",
            "list",
        )
        result = demo.cli("process", "-", *options, text="Many hands make light work.")
        assert result.exit_code == 0, result.output
        assert "succeeded: 2 of 2" in result.stdout
        assert "chat" in result.stdout

    def test_a_refusal_says_why(self, demo: Demo) -> None:
        result = demo.cli("process", "-", "--upstream", "nobody", text="some text")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Error: Unknown upstream (422)" in result.stderr
        result = demo.cli("process", "-", "--json", text="some text", key="ff_live_no")
        assert "401" in json.loads(result.stdout)["error"]

    def test_what_is_no_text_is_refused(self, demo: Demo, tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes(b"caf\xe9")
        assert "not UTF-8" in demo.cli("process", str(tmp_path / "latin")).stderr
        assert "cannot be read" in demo.cli("process", str(tmp_path / "absent")).stderr

    def test_without_a_key_or_a_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        result = run_cli("process", "-", env={}, text="some text")
        assert result.exit_code == 1
        assert "FANFOLD_API_KEY" in result.stderr
        result = run_cli(
            "process", "-", "--key", "k", "--url", "http://127.0.0.1:1", env={}, text="some text"
        )
        assert "fanfold serve" in result.stderr
        assert result.stderr.startswith("Error: ")


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, command=DEMO)
    server.start()
    _wait_for(server, "Serving. Ctrl-C stops it.")
    assert server.has_postgres()
    assert server.stop(signal.SIGINT) == 0, server.log
    assert server.log.endswith("Stopped.\n")
    assert not server.has_postgres()


def test_a_server_of_ones_own_is_migrated_by_its_owner_first(
    fresh_database: TestDatabase, tmp_path: Path
) -> None:
    env = {
        "FANFOLD_DATABASE_URL": fresh_database.app_url,
        "FANFOLD_OWNER_DATABASE_URL": fresh_database.owner_url,
        "FANFOLD_SECRET_KEYS": "a secret of the tests that is long enough to be taken",
        "FANFOLD_DATA_DIR": str(tmp_path / "data"),
        "FANFOLD_PORT": "0",
    }
    once = run_once(tmp_path, env)
    assert once.returncode == 0, once.stderr
    assert json.loads(once.stdout)["answer"]["status"] == "succeeded"
    assert not (tmp_path / "data").exists()


def test_secrets_are_not_rotated_under_a_running_server(demo: Demo) -> None:
    result = run_cli("secrets", "rotate", env={"FANFOLD_DATA_DIR": str(demo.server.data_dir)})
    assert result.exit_code == 1
    assert "stop it first" in result.stderr


def test_the_demos_freedoms_are_added_to_the_settings_not_put_in_their_place() -> None:
    office = ip_network("10.1.0.0/16")
    settings = Settings(
        fan_out=FanOutSettings(upstream_allowed_networks=[office], max_connections=7),
        telemetry=TelemetrySettings(log_level="DEBUG"),
    )
    changed = demo_settings(settings)
    assert changed.fan_out.adhoc_upstreams is True
    assert changed.fan_out.upstream_allowed_networks == [office, ip_network("127.0.0.0/8")]
    assert (changed.fan_out.max_connections, changed.telemetry.log_level) == (7, "DEBUG")
    assert settings.fan_out.adhoc_upstreams is False


def test_the_curl_line_survives_a_shell() -> None:
    words = shlex.split(curl_line("http://127.0.0.1:8000", "ff_live_x"))
    assert words[:2] == ["curl", "http://127.0.0.1:8000/v1/process"]
    assert json.loads(words[-1])["fold"] == {"by": "concat"}
