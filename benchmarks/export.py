"""100,000 usage events out of `GET /v1/usage/export` as NDJSON, and what the server's memory grows by meanwhile.

A real server has one core; Postgres (fsync on) and the client have the other. The client checks nothing but the number
of lines, so that the figure is the server's.

    python -m benchmarks.export [--rows 100000] [--rounds 3]
"""

import asyncio
import http.client
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cores import apart, cpu_seconds
from benchmarks.process import fanfold, free_port, new_tenant, server
from fanfold.core.embedded_postgres import SUPERUSER, EmbeddedPostgres

MOST_S = 2.0
_SEED = """
insert into fanfold.usage_events (tenant_id, request_id, call_index, meter, period_start, units, outcome, upstream,
                                  quantity, api_key_id, occurred_at, rate)
select t.id, md5((n / 10)::text)::uuid, n % 10, 'calls', date_trunc('month', now())::date, 1, 'billed', 'summarize', 1,
       gen_random_uuid(), now() - make_interval(secs => ($1 - n) / 1000.0), 1
  from fanfold.tenants t cross join generate_series(1, $1) n where t.slug = 'bench'
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What one round found: seconds, the server's seconds of a core, MB in all, and MiB by which its memory grew."""

    seconds: float
    cpu_s: float
    megabytes: float
    grown_mib: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The server under measurement, and a key that may read its tenant's usage."""

    url: str
    pid: int
    key: str

    def peak_mib(self) -> float:
        """Return the most memory that the server had so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


@contextmanager
def product(rows: int) -> Iterator[Scene]:
    """Run the server on a core of its own, with so many events of one tenant."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data_dir = Path(folder) / "data"
        environment = {"FANFOLD_DATA_DIR": str(data_dir), "FANFOLD_LOG_LEVEL": "WARNING"}
        command = ("fanfold", "serve", "--port", str(port), "--no-worker")
        own = stack.enter_context(server(*command, ready=f"{url}/readyz", **environment))
        new_tenant(url, environment)
        scopes = ("keys", "create", "--tenant", "bench", "--scopes", "usage:read")
        key = fanfold(*scopes, environment=environment)["key"]
        with EmbeddedPostgres(data_dir) as postgres:
            asyncio.run(_seed(postgres.url(user=SUPERUSER), rows))
        apart(own.pid, data_dir)
        yield Scene(url, own.pid, key)


async def _seed(url: str, rows: int) -> None:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    await connection.execute(_SEED, rows)
    await connection.execute("vacuum analyze fanfold.usage_events")
    await connection.close()


def export(scene: Scene, rows: int) -> Exported:
    """Read the whole export once. Raises where a line is missing."""
    before, began, started = scene.peak_mib(), cpu_seconds(scene.pid), time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(scene.url).netloc, timeout=60)
    connection.request("GET", "/v1/usage/export?format=ndjson", headers={"X-API-Key": scene.key})
    response = connection.getresponse()
    lines = size = 0
    while part := response.read1(1 << 20):
        lines += part.count(b"\n")
        size += len(part)
    seconds = time.perf_counter() - started
    connection.close()
    if response.status != http.HTTPStatus.OK or lines != rows:
        raise RuntimeError(f"answered {response.status} with {lines} lines")
    grown = scene.peak_mib() - before
    return Exported(
        seconds=seconds, cpu_s=cpu_seconds(scene.pid) - began, megabytes=size / 1e6, grown_mib=grown
    )


def measure(*, rows: int = 100_000, rounds: int = 3) -> list[Exported]:
    """Return what each round found; the first also pays for what is imported late."""
    with product(rows) as scene:
        return [export(scene, rows) for _ in range(rounds)]


def report(rounds: list[Exported], rows: int) -> bool:
    """Print the table; returns whether the goal is met."""
    table = Table(title=f"{rows:,} usage events as NDJSON")
    for heading in ("", "seconds", "server's CPU s", "MB", "memory's peak grew by MiB"):
        table.add_column(heading, justify="right")
    for number, each in enumerate(rounds, 1):
        figures = f"{each.seconds:.2f}", f"{each.cpu_s:.2f}", f"{each.megabytes:.1f}", f"{each.grown_mib:.1f}"
        table.add_row(str(number), *figures)
    table.add_row("goal", f"{MOST_S:.1f}", "", "", "")
    Console().print(table)
    return statistics.median(each.seconds for each in rounds) <= MOST_S


def main(rows: int = 100_000, rounds: int = 3) -> None:
    """Measure, and exit with 1 if it takes longer than it should."""
    raise typer.Exit(0 if report(measure(rows=rows, rounds=rounds), rows) else 1)


if __name__ == "__main__":
    typer.run(main)
