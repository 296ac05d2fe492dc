"""The whole path beside the tutorials' endpoint: both as servers, in turns within one run, against the same mock.

Ours does what theirs does, and authentication, rate limit, quota, ledger and usage events in Postgres (fsync on).
Read the ratio; the figures themselves are this machine's.

    python -m benchmarks.process [--seconds 2] [--rounds 3]
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import httpx
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

CHUNKS = (1, 10, 50)
DELAYS_MS = (0, 50)
CHUNK = 200
START_TIMEOUT_S = 180.0


@dataclass(slots=True)
class Target:
    """One endpoint under measurement; latencies in seconds, by case."""

    name: str
    url: str
    headers: dict[str, str]
    rates: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    latencies: dict[tuple[int, int], list[float]] = field(default_factory=dict)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(*command: str, ready: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until it answers at `ready`, and stop it by its own process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start.")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code < 500
    except httpx.HTTPError:
        return False


def fanfold(*arguments: str, environment: dict[str, str]) -> dict[str, str]:
    """Run the command line and return its answer."""
    command = [sys.executable, "-m", "fanfold", *arguments, "--json"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=True, text=True
    )
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


async def _load(target: Target, body: bytes, *, callers: int, seconds: float) -> tuple[float, list[float]]:
    latencies: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=target.headers) as client:
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while (started := time.perf_counter()) < end:
                async with client.post(target.url, data=body) as response:
                    answer = await response.json()
                    if response.status != 200 or answer["successful"] != answer["total"]:
                        raise RuntimeError(f"{target.name} answered {response.status}: {answer}")
                latencies.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return len(latencies) / (time.perf_counter() - started), latencies


def measure(targets: list[Target], mock: str, *, seconds: float, rounds: int, callers: int) -> None:
    """Measure every case, the targets in turns."""
    cases = [(chunks, delay) for chunks in CHUNKS for delay in DELAYS_MS for _ in range(rounds)]
    for chunks, delay in track(cases, description="measuring", transient=True):
        url = f"{mock}/slow?ms={delay}" if delay else f"{mock}/ok"
        body = json.dumps({"text": "x" * (CHUNK * chunks), "chunk_size": CHUNK, "api_urls": [url]}).encode()
        for target in targets:
            rate, latencies = asyncio.run(_load(target, body, callers=callers, seconds=seconds))
            target.rates.setdefault((chunks, delay), []).append(rate)
            target.latencies.setdefault((chunks, delay), []).extend(latencies)


def report(naive: Target, ours: Target, callers: int) -> bool:
    """Print the table; returns whether ours was faster in every case."""
    table = Table(title=f"POST /process/, {callers} callers: requests a second, median of the rounds")
    for heading in ("chunks", "mock ms", "tutorial", "fanfold", "ratio", "p50 ms tutorial", "p50 ms fanfold"):
        table.add_column(heading, justify="right")
    is_faster = True
    for case in naive.rates:
        theirs, own = (statistics.median(target.rates[case]) for target in (naive, ours))
        middle = [1000 * statistics.median(target.latencies[case]) for target in (naive, ours)]
        is_faster &= own > theirs
        table.add_row(
            *map(str, case),
            f"{theirs:,.1f}",
            f"{own:,.1f}",
            f"{own / theirs:.1f} ×",
            *(f"{ms:.1f}" for ms in middle),
        )
    Console().print(table)
    return is_faster


def main(seconds: float = 2.0, rounds: int = 3, callers: int = 8) -> None:
    """Compare both endpoints and exit with 1 if ours was slower anywhere."""
    naive_port, own_port, mock_port = free_port(), free_port(), free_port()
    mock = f"http://127.0.0.1:{mock_port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        environment = {
            "FANFOLD_DATA_DIR": str(Path(folder) / "data"),
            "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "FANFOLD_ADHOC_UPSTREAMS": "true",
            "FANFOLD_LOG_LEVEL": "WARNING",
        }
        start = stack.enter_context
        start(server("tests.zoo", "--port", str(mock_port), "--lifetime", "3600", ready=f"{mock}/count"))
        naive_url = f"http://127.0.0.1:{naive_port}"
        quiet = ("--log-level", "warning", "--no-access-log")
        start(
            server(
                "uvicorn",
                "benchmarks.naive:app",
                "--port",
                str(naive_port),
                *quiet,
                ready=f"{naive_url}/docs",
            )
        )
        own_url = f"http://127.0.0.1:{own_port}"
        start(server("fanfold", "serve", "--port", str(own_port), ready=f"{own_url}/readyz", **environment))
        key = new_tenant(own_url, environment)
        naive = Target("tutorial", f"{naive_url}/process/", {"content-type": "application/json"})
        ours = Target(
            "fanfold", f"{own_url}/process/", {"content-type": "application/json", "x-api-key": key}
        )
        measure([naive, ours], mock, seconds=seconds, rounds=rounds, callers=callers)
        raise typer.Exit(0 if report(naive, ours, callers) else 1)


def new_tenant(own_url: str, environment: dict[str, str], slug: str = "bench") -> str:
    """Make a tenant whose limits are out of the way, and return its key."""
    tenant = fanfold("tenants", "create", slug, "--plan", "scale", environment=environment)
    operator = fanfold("keys", "create", "--operator", environment=environment)["key"]
    limits = {"requests_per_minute": 10**9, "burst": 10**9, "overage_allowed": True}
    path = f"{own_url}/v1/admin/tenants/{tenant['id']}/limits"
    httpx.patch(path, json=limits, headers={"x-api-key": operator}).raise_for_status()
    return fanfold("keys", "create", "--tenant", slug, "--scopes", "process", environment=environment)["key"]


if __name__ == "__main__":
    typer.run(main)
