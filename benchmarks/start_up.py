"""From `fanfold serve` to the first 200 of `/readyz`, and what the server holds then, idle and under 64 clients.

The database is warm: initialised and migrated by a start that is not measured, which also writes the bytecode. Once
with the embedded Postgres, whose start counts, and once with that Postgres as a server that runs already. Memory is
the proportional set size of the server's processes without Postgres. CPU is told too, since others change it less.

    python -m benchmarks.start_up [--rounds 3] [--seconds 4] [--clients 64]
"""

import asyncio
import http.client
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.process import START_TIMEOUT_S, Target, free_port, new_tenant, server
from benchmarks.process import _load as load
from fanfold.core.embedded_postgres import EmbeddedPostgres
from fanfold.core.roles import APP

MAX_READY_S, MAX_IDLE_MB, MAX_LOADED_MB = 2.0, 90, 130
_POLL_S = 0.005
_SETTLES_S = 2.0
_MB = 1024  # of the kernel's kB


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until it was ready, CPU seconds of the server alone, and MB that it held when idle."""

    ready_s: float
    cpu_s: float
    idle_mb: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of the starts, and MB under load."""

    embedded: Start
    external: Start
    loaded_mb: float

    @property
    def hold(self) -> bool:
        """Whether every bound holds; the time is that with a database that runs already."""
        return (
            self.external.ready_s <= MAX_READY_S
            and self.external.idle_mb <= MAX_IDLE_MB
            and self.loaded_mb <= MAX_LOADED_MB
        )


def processes(pid: int) -> Iterator[int]:
    """Yield a server's processes, without Postgres."""
    if Path(f"/proc/{pid}/comm").read_text().startswith("postgres"):
        return
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from processes(int(child))


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a server's processes."""
    kib = 0
    for each in processes(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        kib += int(next(line.split()[1] for line in lines if line.startswith("Pss:")))
    return kib / _MB


def cpu_s(pid: int) -> float:
    """Return the seconds that a process's threads have run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def started(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Start a server; gives the process, its port, and after how many seconds it was ready."""
    port = free_port()
    command = [sys.executable, "-m", "fanfold", "serve", "--port", str(port)]
    quiet = subprocess.DEVNULL
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.perf_counter() - begun > START_TIMEOUT_S:
                raise RuntimeError("The server did not start.")
            time.sleep(_POLL_S)
        yield process, port, time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(30)


def start(environment: dict[str, str]) -> Start:
    """Start a server once, and end it."""
    with started(environment) as (process, _, ready_s):
        used = cpu_s(process.pid)
        time.sleep(_SETTLES_S)
        return Start(ready_s, used, memory_mb(process.pid))


def loaded_mb(environment: dict[str, str], *, clients: int, seconds: float) -> float:
    """Return the memory after so many seconds of requests of ten chunks."""
    mock_port = free_port()
    mock = f"http://127.0.0.1:{mock_port}"
    lifetime = ("--lifetime", "3600")
    with (
        server("tests.zoo", "--port", str(mock_port), *lifetime, ready=f"{mock}/count"),
        started(environment) as (process, port, _),
    ):
        url = f"http://127.0.0.1:{port}"
        key = new_tenant(url, environment)
        target = Target("fanfold", f"{url}/process/", {"content-type": "application/json", "x-api-key": key})
        body = f'{{"text": "{"x" * 2000}", "chunk_size": 200, "api_urls": ["{mock}/ok"]}}'.encode()
        asyncio.run(load(target, body, callers=clients, seconds=seconds))
        return memory_mb(process.pid)


def _median(starts: list[Start]) -> Start:
    middle = [statistics.median(getattr(each, name) for each in starts) for name in Start.__slots__]
    return Start(*middle)


def measure(folder: Path, *, rounds: int, seconds: float, clients: int) -> Figures:
    """Measure in a folder of its own: embedded and external in turns, then under load."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "FANFOLD_DATA_DIR": str(folder / "data"),
        "FANFOLD_SECRET_KEYS": secrets.token_urlsafe(48),
        "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
        "FANFOLD_ADHOC_UPSTREAMS": "true",
        "FANFOLD_LOG_LEVEL": "WARNING",
    }
    start(environment)
    embedded: list[Start] = []
    external: list[Start] = []
    for _ in range(rounds):
        embedded.append(start(environment))
        with EmbeddedPostgres(folder / "data") as postgres:
            external.append(start({**environment, "FANFOLD_DATABASE_URL": postgres.url(user=APP)}))
    loaded = loaded_mb(environment, clients=clients, seconds=seconds)
    return Figures(_median(embedded), _median(external), loaded)


def report(figures: Figures, clients: int) -> None:
    """Print the table."""
    table = Table(title="a server's start, with a warm database; medians")
    for heading in ("Postgres", "ready after s", "CPU s", "idle MB"):
        table.add_column(heading, justify="right")
    for name, each in (("embedded, started too", figures.embedded), ("runs already", figures.external)):
        table.add_row(name, f"{each.ready_s:.2f}", f"{each.cpu_s:.2f}", f"{each.idle_mb:.0f}")
    console = Console()
    console.print(table)
    console.print(f"under {clients} clients: {figures.loaded_mb:.0f} MB")
    console.print(f"bounds: {MAX_READY_S:g} s, {MAX_IDLE_MB} MB idle, {MAX_LOADED_MB} MB under load")


def main(rounds: int = 3, seconds: float = 4.0, clients: int = 64) -> None:
    """Measure, and exit with 1 where a bound does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), rounds=rounds, seconds=seconds, clients=clients)
    report(figures, clients)
    raise typer.Exit(0 if figures.hold else 1)


if __name__ == "__main__":
    typer.run(main)
