"""Ours, started as an operator does it, with everything on; its Postgres runs on the load's core, with fsync on."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.comparison.endpoints import body
from benchmarks.comparison.gateways import PROMPT
from benchmarks.comparison.load import Call
from benchmarks.comparison.mocks import delayed, instant
from benchmarks.comparison.server import Server
from benchmarks.comparison.stage import Stage, free_port
from benchmarks.comparison.turns import Contestant
from benchmarks.cores import postgres_of
from benchmarks.process import fanfold
from fanfold.core.embedded_postgres import EmbeddedPostgres

NAME = "fanfold"
OUT_OF_THE_WAY = 1_000_000_000
MAX_CONNECTIONS = 4000  # one request may have a quarter of the calls under way: 1,000 chunks at once
DELAYS_MS = (50,)


@dataclass(frozen=True, slots=True)
class Product:
    """A running server of ours, its address, its tenant's key, its settings, and its Postgres's first process."""

    server: Server
    url: str
    key: str
    environment: Mapping[str, str]
    postgres: int

    @property
    def headers(self) -> dict[str, str]:
        """What names the tenant."""
        return {"x-api-key": self.key}

    def processing(self, asked: bytes) -> Contestant:
        """Return it as a contestant that answers a process request."""
        return Contestant(
            NAME, Call(f"{self.url}/v1/process", asked, self.headers), self.server, self.postgres
        )


def product(stage: Stage) -> Product:
    """Return the server of this run, started when a row first asks."""
    return stage.once(NAME, lambda: _start(stage))


def fan_out(stage: Stage, chunks: int, *, delay_ms: int = 0) -> Contestant:
    """Return ours with the request that the tutorials' endpoints get."""
    url = f"http://{delayed(stage)}/after/{delay_ms}" if delay_ms else f"http://{instant(stage)}/instant"
    return product(stage).processing(body(chunks, url))


def one_call(stage: Stage) -> Contestant:
    """Return ours with one prompt for one model, which is what a gateway gets."""
    return product(stage).processing(json.dumps({"text": PROMPT, "upstreams": ["chat"]}).encode())


def data_dir(stage: Stage) -> Path:
    """Return where the servers of this run have their data, and their Postgres."""
    return stage.folder / "data"


def environment_of(stage: Stage, port: int) -> dict[str, str]:
    """Return the settings; all others have their defaults, the level of the logs too."""
    return {
        "FANFOLD_DATA_DIR": str(data_dir(stage)),
        "FANFOLD_PORT": str(port),
        "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
        "FANFOLD_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
    }


def command(*more: str) -> list[str]:
    """Return the command that serves."""
    return [sys.executable, "-m", "fanfold", "serve", *more]


def postgres(stage: Stage) -> int:
    """Start the embedded Postgres from here, that is on the load's core; servers join it. Returns its first process."""

    def start() -> int:
        folder = data_dir(stage)
        stage.tell("starting Postgres")
        stage.stack.enter_context(EmbeddedPostgres(folder))
        stage.beside.append(postgres_of(folder))
        return stage.beside[-1]

    return stage.once("Postgres", start)


def _start(stage: Stage) -> Product:
    upstreams = _upstreams(stage)
    database = postgres(stage)
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = environment_of(stage, port)
    server = stage.serve(NAME, command(), ready=f"{url}/readyz", environment=environment)
    server.resume()
    try:
        key = _tenant(url, environment, upstreams)
    finally:
        server.pause()
    return Product(server, url, key, environment, database)


def _upstreams(stage: Stage) -> list[dict[str, Any]]:
    wide = {"max_concurrency": 1000, "units_per_call": 1}
    return [
        {"slug": "instant", "kind": "http_json", "url": f"http://{instant(stage)}/instant", **wide},
        {"slug": "chat", "kind": "openai", "url": f"http://{instant(stage)}/v1", "model": "mock", **wide},
        *(
            {"slug": f"after-{ms}", "kind": "http_json", "url": f"http://{delayed(stage)}/after/{ms}", **wide}
            for ms in DELAYS_MS
        ),
    ]


def _tenant(url: str, environment: Mapping[str, str], upstreams: list[dict[str, Any]]) -> str:
    """Make a tenant with limits that hold and are out of the way, its upstreams and its key; returns the key."""
    settings = dict(environment)
    tenant = fanfold("tenants", "create", "bench", "--plan", "scale", environment=settings)
    operator = fanfold("keys", "create", "--operator", environment=settings)["key"]
    limits = {"requests_per_minute": OUT_OF_THE_WAY, "burst": OUT_OF_THE_WAY, "monthly_units": 10**12}
    _ask("PATCH", f"{url}/v1/admin/tenants/{tenant['id']}/limits", operator, limits)
    scopes = "process,upstreams:write,keys:write"
    first = fanfold("keys", "create", "--tenant", "bench", "--scopes", scopes, environment=settings)["key"]
    for upstream in upstreams:
        _ask("POST", f"{url}/v1/upstreams", first, upstream)
    wanted = {"name": "bench", "scopes": ["process"], "requests_per_minute": OUT_OF_THE_WAY}
    return str(_ask("POST", f"{url}/v1/api-keys", first, wanted)["key"])


def _ask(method: str, url: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.request(method, url, json=body, headers={"x-api-key": key}, timeout=30)
    if not answer.is_success:
        raise RuntimeError(f"{method} {url} answered {answer.status_code}: {answer.text}")
    told: dict[str, Any] = answer.json()
    return told
