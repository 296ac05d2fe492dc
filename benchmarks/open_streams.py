"""What an open stream costs: memory of the server for each of 1,000, and the time of a plain request beside them.

One real server process with a core of its own; Postgres (fsync on), mock and clients have the other. Each stream has
told one chunk and waits for a second, whose call the mock holds open: the memory is that of both connections, the
client's and the upstream's, and of all between them.
Clients of eight tenants, since one may have a quarter of the calls. Alone and beside in turns; read the ratio.

    python -m benchmarks.open_streams [--streams 1000] [--seconds 5] [--rounds 3]
"""

import asyncio
import json
import resource
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

from benchmarks.cores import apart
from benchmarks.process import free_port, new_tenant, server

MAX_KIB = 60
HELD_MS = 3_600_000
FILES = 65_536
_AT_ONCE = 50
_TOLD = b"event: chunk"


@dataclass(slots=True)
class Scene:
    """The server under measurement, its tenants, and the mock."""

    port: int
    pid: int
    keys: list[str]
    mock: str
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)

    def body(self, *paths: str, stream: bool) -> bytes:
        """Return a request of one chunk for each of the mock's paths."""
        urls = [f"{self.mock}/{path}" for path in paths]
        text = "一二三四五六七八九十" * len(urls)
        asked = {"text": text, "chunk_size": 10, "api_urls": urls, "deadline_s": 900, "stream": stream}
        return json.dumps(asked).encode()

    def resident_kib(self) -> int:
        """Return the server's resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


async def _open(scene: Scene, number: int) -> asyncio.StreamWriter:
    """Open one stream and read until its first chunk is told."""
    body = scene.body("ok", f"slow?ms={HELD_MS}", stream=True)
    head = (
        f"POST /v1/process HTTP/1.1\r\nhost: fanfold\r\nx-api-key: {scene.keys[number % len(scene.keys)]}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port, limit=1024)
    writer.write(head.encode() + body)
    seen = b""
    while _TOLD not in seen:
        more = await reader.read(4096)
        if not more:
            raise RuntimeError(f"The stream ended: {seen[-300:]!r}")
        seen += more
    return writer


@asynccontextmanager
async def open_streams(scene: Scene, count: int) -> AsyncIterator[None]:
    """Hold so many streams open while the body runs."""
    writers: list[asyncio.StreamWriter] = []
    try:
        for first in range(0, count, _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, count))
            writers += await asyncio.gather(*(_open(scene, number) for number in some))
        yield
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def measure(scene: Scene, *, streams: int, seconds: float, rounds: int) -> list[float]:
    """Time plain requests alone and beside; returns KiB for each stream, by round: later ones find memory there."""
    kib: list[float] = []
    async with aiohttp.ClientSession() as session:
        await _sample(scene, session, "warm up", 1.0)
        async with open_streams(scene, _AT_ONCE):
            pass
        for _ in range(rounds):
            await _sample(scene, session, "alone", seconds)
            before = scene.resident_kib()
            async with open_streams(scene, streams):
                await asyncio.sleep(1.0)
                kib.append((scene.resident_kib() - before) / streams)
                await _sample(scene, session, "beside", seconds)
            await asyncio.sleep(2.0)  # until they are settled
    return kib


async def _sample(scene: Scene, session: aiohttp.ClientSession, case: str, seconds: float) -> None:
    body = scene.body("ok", stream=False)
    headers = {"x-api-key": scene.keys[0], "content-type": "application/json"}
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        url = f"http://127.0.0.1:{scene.port}/v1/process"
        async with session.post(url, data=body, headers=headers) as response:
            answer = await response.json()
            if response.status != 200 or answer["successful"] != 1:
                raise RuntimeError(f"answered {response.status}: {answer}")
        scene.latencies_ms.setdefault(case, []).append((time.perf_counter() - started) * 1000)


@dataclass(frozen=True, slots=True)
class Found:
    """KiB for each stream, by round; a plain request's p50 and p99 in ms, alone and beside; and how many they were."""

    kib: list[float]
    alone: tuple[float, float]
    beside: tuple[float, float]
    requests: tuple[int, int]

    @property
    def tail_ratio(self) -> float:
        """The 99th percentile beside the streams, over alone."""
        return self.beside[1] / self.alone[1]


def run(*, streams: int = 1000, seconds: float = 5.0, rounds: int = 3, tenants: int = 8) -> Found:
    """Measure on a server of its own."""
    with product(tenants) as scene:
        kib = asyncio.run(measure(scene, streams=streams, seconds=seconds, rounds=rounds))
    alone, beside = scene.latencies_ms["alone"], scene.latencies_ms["beside"]
    return Found(kib, _percentiles(alone), _percentiles(beside), (len(alone), len(beside)))


def _percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return cuts[49], cuts[98]


def report(found: Found, streams: int) -> bool:
    """Print the table; returns whether a stream's memory is within its bound."""
    table = Table(title=f"a plain request, ms; beside {streams} open streams")
    for heading in ("", "requests", "p50", "p99"):
        table.add_column(heading, justify="right")
    for case, times, requests in zip(
        ("alone", "beside"), (found.alone, found.beside), found.requests, strict=True
    ):
        table.add_row(case, str(requests), *(f"{value:.2f}" for value in times))
    ratios = (b / a for a, b in zip(found.alone, found.beside, strict=True))
    table.add_row("ratio", "", *(f"{ratio:.2f} ×" for ratio in ratios))
    console = Console()
    console.print(table)
    shown = ", ".join(f"{value:.1f}" for value in found.kib)
    console.print(
        f"KiB more of the server for each open stream, by round: {shown} (bound of the first: {MAX_KIB})"
    )
    return found.kib[0] <= MAX_KIB


@contextmanager
def product(tenants: int) -> Iterator[Scene]:
    """Run server and mock with room for all connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    port, mock_port = free_port(), free_port()
    url, mock = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mock_port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data_dir = Path(folder) / "data"
        environment = {
            "FANFOLD_DATA_DIR": str(data_dir),
            "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "FANFOLD_ADHOC_UPSTREAMS": "true",
            "FANFOLD_LOG_LEVEL": "WARNING",
        }
        start = stack.enter_context
        zoo = start(
            server("tests.zoo", "--port", str(mock_port), "--lifetime", "3600", ready=f"{mock}/count")
        )
        own = start(server("fanfold", "serve", "--port", str(port), ready=f"{url}/readyz", **environment))
        keys = [new_tenant(url, environment, f"bench{number}") for number in range(tenants)]
        apart(own.pid, data_dir, zoo.pid)
        yield Scene(port, own.pid, keys, mock)


def main(streams: int = 1000, seconds: float = 5.0, rounds: int = 3, tenants: int = 8) -> None:
    """Measure, and exit with 1 if a stream takes more memory than it may."""
    found = run(streams=streams, seconds=seconds, rounds=rounds, tenants=tenants)
    raise typer.Exit(0 if report(found, streams) else 1)


if __name__ == "__main__":
    typer.run(main)
