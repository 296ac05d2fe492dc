"""What a big tenant costs a small one: three chunks alone, and beside 2,000-chunk requests to the same upstream.

A real server with Postgres (fsync on), one upstream of 50 ms that both share by its address; alone and beside in turns.
Read the ratio; the figures themselves are this machine's: it must have time left for server, Postgres, mock and client,
or who waits waits for a processor. "of it upstream": the slowest of the three calls, from its slot to its answer.

    python -m benchmarks.noisy_neighbour [--seconds 10] [--rounds 3]
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.process import free_port, new_tenant, server

GOAL = 1.5
_PERCENTILES = (50, 99)
_LEAST = 2  # of one there are no percentiles


@dataclass(slots=True)
class Client:
    """One tenant's requests: where to, as whom, and with which text."""

    url: str
    key: str
    upstream: str
    chunks: int
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    upstream_ms: dict[str, list[float]] = field(default_factory=dict)

    async def ask(self, session: aiohttp.ClientSession) -> tuple[float, bytes]:
        """Send one request and return its time in ms, and the answer."""
        body = json.dumps(
            {
                "text": "一二三四五六七八九十" * self.chunks,
                "chunk_size": 10,
                "api_urls": [self.upstream],
                "deadline_s": 300,
            }
        ).encode()
        headers = {"x-api-key": self.key, "content-type": "application/json"}
        started = time.perf_counter()
        async with session.post(f"{self.url}/v1/process", data=body, headers=headers) as response:
            answer = await response.read()
        if response.status != 200 or b'"failed":0,' not in answer:
            raise RuntimeError(f"answered {response.status}: {answer[:300]!r}")
        return (time.perf_counter() - started) * 1000.0, answer


@asynccontextmanager
async def noise(big: Client, session: aiohttp.ClientSession, at_once: int) -> AsyncIterator[list[float]]:
    """Keep so many of the big tenant's requests under way while the body runs; the times of those that ended, in ms."""
    times: list[float] = []

    async def again() -> None:
        while True:
            times.append((await big.ask(session))[0])

    tasks = [asyncio.create_task(again()) for _ in range(at_once)]
    try:
        await asyncio.sleep(1.0)  # until it is under way
        yield times
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measure(small: Client, big: Client, *, seconds: float, rounds: int, at_once: int) -> int:
    """Time the small tenant's requests alone and beside, in turns; returns how many big ones ended meanwhile."""
    ended = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _sample(small, session, "warm up", seconds / 4)
        for _ in range(rounds):
            await _sample(small, session, "alone", seconds)
            async with noise(big, session, at_once) as times:
                await _sample(small, session, "beside", seconds)
                ended += len(times)
            await asyncio.sleep(0.5)
    return ended


async def _sample(small: Client, session: aiohttp.ClientSession, case: str, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(small.latencies_ms.get(case, ())) < _LEAST:
        latency_ms, answer = await small.ask(session)
        slowest_ms = max(result["latency_ms"] for result in json.loads(answer)["results"])
        small.latencies_ms.setdefault(case, []).append(latency_ms)
        small.upstream_ms.setdefault(case, []).append(slowest_ms)


def report(small: Client, ended: int) -> bool:
    """Print the table; returns whether the goal is met."""
    table = Table(title=f"three chunks, ms; beside {ended} requests of 2,000 chunks that ended meanwhile")
    for heading in ("", "requests", "p50", "p99", "of it upstream, p50", "p99"):
        table.add_column(heading, justify="right")
    found: dict[str, list[float]] = {}
    for case in ("alone", "beside"):
        times = small.latencies_ms[case]
        found[case] = [*_percentiles(times), *_percentiles(small.upstream_ms[case])]
        table.add_row(case, str(len(times)), *(f"{value:.1f}" for value in found[case]))
    ratios = [beside / alone for alone, beside in zip(found["alone"], found["beside"], strict=True)]
    table.add_row("ratio", "", *(f"{ratio:.2f} ×" for ratio in ratios))
    Console().print(table)
    return ratios[1] <= GOAL


def _percentiles(latencies_ms: list[float]) -> list[float]:
    cuts = statistics.quantiles(latencies_ms, n=100, method="inclusive")
    return [cuts[percentile - 1] for percentile in _PERCENTILES]


@contextmanager
def product(delay_ms: int) -> Iterator[tuple[Client, Client]]:
    """Run server and mock, and return the small and the big tenant."""
    port, mock_port = free_port(), free_port()
    url, mock = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mock_port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        environment = {
            "FANFOLD_DATA_DIR": str(Path(folder) / "data"),
            "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "FANFOLD_ADHOC_UPSTREAMS": "true",
            "FANFOLD_LOG_LEVEL": "WARNING",
        }
        stack.enter_context(
            server("tests.zoo", "--port", str(mock_port), "--lifetime", "3600", ready=f"{mock}/count")
        )
        stack.enter_context(
            server("fanfold", "serve", "--port", str(port), ready=f"{url}/readyz", **environment)
        )
        upstream = f"{mock}/slow?ms={delay_ms}"
        small, big = (new_tenant(url, environment, slug) for slug in ("small", "big"))
        yield Client(url, small, upstream, 3), Client(url, big, upstream, 2000)


def main(seconds: float = 10.0, rounds: int = 3, at_once: int = 2, delay_ms: int = 50) -> None:
    """Compare, and exit with 1 if the small tenant's p99 is over 1.5 times what it is alone."""
    with product(delay_ms) as (small, big):
        ended = asyncio.run(measure(small, big, seconds=seconds, rounds=rounds, at_once=at_once))
    raise typer.Exit(0 if report(small, ended) else 1)


if __name__ == "__main__":
    typer.run(main)
