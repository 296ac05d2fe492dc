"""Chunks a second through jobs and through `POST /v1/process`, in turns against the same server and the same mock.

A real server with its worker inside has a core of its own; Postgres (fsync on), mock and client have the other. Both
ways carry the same chunks, as many at once; jobs keep every answer in a row of its own. Read the ratio; the figures
themselves are this machine's.

    python -m benchmarks.jobs [--chunks 200] [--jobs 40] [--rounds 3] [--delay-ms 0]
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cores import apart
from benchmarks.process import CHUNK, fanfold, free_port, new_tenant, server

GOAL = 0.5
AT_ONCE = 4
KEEPALIVE_S = 2.0  # less than the server's, which would cut what is sent as it closes
_POLL_S = 0.2


async def _asked(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> Any:
    async with session.request(method, path, **options) as response:
        answer = await response.json(content_type=None)
        if not response.ok:
            raise RuntimeError(f"answered {response.status}: {answer}")
        return answer


async def synchronous(session: aiohttp.ClientSession, body: bytes, many: int) -> None:
    """Send so many requests, a few at once; each must be answered in full."""
    left = iter(range(many))

    async def caller() -> None:
        for _ in left:
            answer = await _asked(session, "POST", "/v1/process", data=body)
            if answer["successful"] != answer["total"]:
                raise RuntimeError(f"{answer['failed']} failed")

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))


async def queued(session: aiohttp.ClientSession, body: bytes, many: int) -> None:
    """Make so many jobs, and wait for the end of all; each must have succeeded."""
    made = await asyncio.gather(*(_asked(session, "POST", "/v1/jobs", data=body) for _ in range(many)))
    for job in made:
        while (told := await _asked(session, "GET", f"/v1/jobs/{job['id']}"))["ended_at"] is None:
            await asyncio.sleep(_POLL_S)
        if told["status"] != "succeeded":
            raise RuntimeError(f"a job ended as {told['status']}")


async def measure(url: str, key: str, body: bytes, *, jobs: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way, the ways in turns."""
    headers = {"x-api-key": key, "content-type": "application/json"}
    seconds: dict[str, list[float]] = {"synchronous": [], "jobs": []}
    async with aiohttp.ClientSession(
        url, headers=headers, connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S)
    ) as session:
        await synchronous(session, body, AT_ONCE)
        await queued(session, body, AT_ONCE)
        for _ in range(rounds):
            for name, way in (("synchronous", synchronous), ("jobs", queued)):
                started = time.perf_counter()
                await way(session, body, jobs)
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]]) -> float:
    """Return the chunks a second of jobs over those of requests, both medians."""
    return statistics.median(seconds["synchronous"]) / statistics.median(seconds["jobs"])


def report(seconds: dict[str, list[float]], chunks: int, delay_ms: int) -> bool:
    """Print the table; returns whether the goal is met."""
    rates = {name: [chunks / each for each in times] for name, times in seconds.items()}
    table = Table(title=f"chunks a second, mock of {delay_ms} ms: median of the rounds, and all of them")
    for heading in ("way", "median", "rounds"):
        table.add_column(heading, justify="right")
    for name, each in rates.items():
        rounds = ", ".join(f"{rate:,.0f}" for rate in each)
        table.add_row(name, f"{statistics.median(each):,.0f}", rounds)
    found = ratio(seconds)
    table.add_row("ratio", f"{found:.2f} ×", f"goal {GOAL} ×")
    Console().print(table)
    return found >= GOAL


@contextmanager
def product() -> Iterator[tuple[str, str, str]]:
    """Run server and mock; yields the server's address, a key and the mock's address."""
    port, mock_port = free_port(), free_port()
    url, mock = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mock_port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data_dir = Path(folder) / "data"
        environment = {
            "FANFOLD_DATA_DIR": str(data_dir),
            "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "FANFOLD_ADHOC_UPSTREAMS": "true",
            "FANFOLD_LOG_LEVEL": "WARNING",
            "FANFOLD_JOBS_PER_TENANT": str(AT_ONCE),
            "FANFOLD_JOBS_CONCURRENCY": str(AT_ONCE),
        }
        start = stack.enter_context
        zoo = start(
            server("tests.zoo", "--port", str(mock_port), "--lifetime", "3600", ready=f"{mock}/count")
        )
        own = start(server("fanfold", "serve", "--port", str(port), ready=f"{url}/readyz", **environment))
        new_tenant(url, environment)
        apart(own.pid, data_dir, zoo.pid)
        scopes = ("keys", "create", "--tenant", "bench", "--scopes", "process,jobs")
        yield url, fanfold(*scopes, environment=environment)["key"], mock


def run(*, chunks: int = 200, jobs: int = 40, rounds: int = 3, delay_ms: int = 0) -> dict[str, list[float]]:
    """Measure on a server of its own; returns the seconds of each way, by round."""
    with product() as (url, key, mock):
        upstream = f"{mock}/slow?ms={delay_ms}" if delay_ms else f"{mock}/ok"
        asked = {"text": "x" * (CHUNK * chunks), "chunk_size": CHUNK, "api_urls": [upstream]}
        body = json.dumps(asked).encode()
        return asyncio.run(measure(url, key, body, jobs=jobs, rounds=rounds))


def main(chunks: int = 200, jobs: int = 40, rounds: int = 3, delay_ms: int = 0) -> None:
    """Compare both ways and exit with 1 if jobs carry less than half of what requests do."""
    seconds = run(chunks=chunks, jobs=jobs, rounds=rounds, delay_ms=delay_ms)
    raise typer.Exit(0 if report(seconds, chunks * jobs, delay_ms) else 1)


if __name__ == "__main__":
    typer.run(main)
