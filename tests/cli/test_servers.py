"""Every way to start a server: ready, used through the command line and HTTP while it runs, and cleanly gone."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.servers import GUNICORN, SERVE, UVICORN, ServerProcess
from tests.zoo import Zoo

LOOPBACK = {"FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8"}
SERVE_2 = (*SERVE, "--workers", "2")
WAYS = {
    "uvicorn": (UVICORN, 1),
    "uvicorn with 4 workers": ((*UVICORN, "--workers", "4"), 4),
    "gunicorn with 2 workers": (GUNICORN, 2),
    "serve with 2 workers": (SERVE_2, 2),
}


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    command, workers = WAYS[request.param]
    with ServerProcess(tmp_path, command=command, env=LOOPBACK) as started:
        yield started, workers


async def test_it_serves_what_the_command_line_made_beside_it_and_stops(
    server: tuple[ServerProcess, int],
) -> None:
    started, workers = server
    async with Zoo() as zoo:
        key = await asyncio.to_thread(_prepare, started, zoo.url("ok"))
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=started.url, headers=headers, timeout=60) as http:
            body = {"text": "一二三 hello 👩‍👩‍👧‍👦 مرحبا", "split": {"size": 4}}
            answers = [await http.post("/v1/process", json=body) for _ in range(workers * 2)]
    assert [answer.status_code for answer in answers] == [200] * (workers * 2), started.log
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}
    assert zoo.served.total() == sum(answer.json()["total"] for answer in answers)
    errors = [line for line in started.log.splitlines() if '"level":"error"' in line or "Traceback" in line]
    assert errors == []
    code = await asyncio.to_thread(started.stop)
    assert code == 0, started.log
    assert not started.has_postgres()
    if started.command == SERVE_2:
        assert "server" not in answers[0].headers
        entries = [json.loads(line) for line in started.log.splitlines()]
        assert [entry for entry in entries if entry["level"] == "warning" and "embedded" in entry["event"]]


def _prepare(server: ServerProcess, upstream: str) -> str:
    server.cli_json("tenants", "create", "acme", "--plan", "pro")
    server.cli_json(
        "upstreams", "add", "--tenant", "acme", "--slug", "ok", "--kind", "http_json", "--url", upstream
    )
    key: str = server.cli_json("keys", "create", "--tenant", "acme", "--scopes", "process,usage:read")["key"]
    return key


@pytest.mark.parametrize("command", [UVICORN, SERVE])
def test_a_failed_start_is_told_in_words(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("")
    env = {"FANFOLD_DATA_DIR": str(tmp_path / "file" / "data")}
    server = ServerProcess(tmp_path, command=command, env=env)
    server.start()
    assert server.wait() not in {0, -signal.SIGTERM}
    assert "Not a directory" in server.log
    assert "set FANFOLD_DATA_DIR to a folder of your own" in server.log
    assert "Traceback" not in server.log
