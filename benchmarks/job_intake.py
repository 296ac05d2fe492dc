"""Jobs taken in a second: `POST /v1/jobs` by 64 clients, each answer after the commit of job, units, input and turn.

A real server without a worker has one core; Postgres (fsync on) and wrk have the other. What was answered is counted
against the units that the database holds for it.

    python -m benchmarks.job_intake [--seconds 3] [--rounds 3] [--clients 64]
"""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cores import apart, cpu_seconds
from benchmarks.process import CHUNK, fanfold, free_port, new_tenant, server

LEAST, MOST_MS = 1_850, 45.0
_REPORT = """
done = function(summary, latency)
  io.write(string.format('\\n{"answered": %d, "refused": %d, "us": %d, "p50_us": %d, "p99_us": %d}\\n',
    summary.requests, summary.errors.status, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Intake:
    """What one round found: jobs a second, milliseconds, and the server's microseconds for each job."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The server under measurement, a key of its tenant, and wrk's script."""

    url: str
    pid: int
    key: str
    script: Path

    def held(self) -> int:
        """Return the units that are held: one for each job that was made."""
        answer = httpx.get(f"{self.url}/v1/usage", headers={"x-api-key": self.key}).raise_for_status()
        return int(answer.json()["reserved"])


@contextmanager
def product() -> Iterator[Scene]:
    """Run the server on a core of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data_dir = Path(folder) / "data"
        environment = {
            "FANFOLD_DATA_DIR": str(data_dir),
            "FANFOLD_UPSTREAM_ALLOWED_NETWORKS": "127.0.0.0/8",
            "FANFOLD_LOG_LEVEL": "WARNING",
        }
        command = ("fanfold", "serve", "--port", str(port), "--no-worker")
        own = stack.enter_context(server(*command, ready=f"{url}/readyz", **environment))
        new_tenant(url, environment)
        upstream = ("--slug", "summarize", "--kind", "http_json", "--url", "http://127.0.0.1:9000/")
        fanfold("upstreams", "add", "--tenant", "bench", *upstream, environment=environment)
        scopes = ("keys", "create", "--tenant", "bench", "--scopes", "jobs,usage:read")
        key = fanfold(*scopes, environment=environment)["key"]
        script = Path(folder) / "post.lua"
        script.write_text(_script(key))
        apart(own.pid, data_dir)
        yield Scene(url, own.pid, key, script)


def _script(key: str) -> str:
    text = ("The quick brown fox jumps over the lazy dog. " * CHUNK)[:CHUNK]
    body = json.dumps({"text": text, "split": {"size": CHUNK}})
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    return "\n".join(['wrk.method = "POST"', f"wrk.body = [[{body}]]", *lines, _REPORT])


def load(scene: Scene, *, clients: int, seconds: float) -> Intake:
    """Make jobs for so long. Raises where one was refused, or is not there."""
    before, began = scene.held(), cpu_seconds(scene.pid)
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds:g}s",
        "-s",
        str(scene.script),
        f"{scene.url}/v1/jobs",
    ]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    found = json.loads(told[told.rindex("\n{") :])
    cpu = cpu_seconds(scene.pid) - began
    # Those on their way when wrk left are made too, and nobody has heard of them.
    made = scene.held() - before
    if found["refused"] or not 0 <= made - found["answered"] <= clients:
        raise RuntimeError(f"{found}, and {made} jobs are there")
    return Intake(
        rate=found["answered"] / found["us"] * 1e6,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        cpu_us=cpu / found["answered"] * 1e6,
    )


def measure(*, clients: int = 64, seconds: float = 3.0, rounds: int = 3) -> list[Intake]:
    """Return what each round found, after one that only warms up."""
    with product() as scene:
        load(scene, clients=clients, seconds=1)
        return [load(scene, clients=clients, seconds=seconds) for _ in range(rounds)]


def report(rounds: list[Intake], clients: int) -> bool:
    """Print the table; returns whether the goal is met."""
    table = Table(title=f"POST /v1/jobs, {clients} clients, durable")
    for heading in ("", "jobs a second", "p50 ms", "p99 ms", "server's CPU µs a job"):
        table.add_column(heading, justify="right")
    for number, each in enumerate(rounds, 1):
        table.add_row(
            str(number), f"{each.rate:,.0f}", f"{each.p50_ms:.1f}", f"{each.p99_ms:.1f}", f"{each.cpu_us:.0f}"
        )
    table.add_row("goal", f"{LEAST:,}", f"{MOST_MS:.0f}", "", "")
    Console().print(table)
    middle = statistics.median(each.p50_ms for each in rounds)
    return statistics.median(each.rate for each in rounds) >= LEAST and middle <= MOST_MS


def main(clients: int = 64, seconds: float = 3.0, rounds: int = 3) -> None:
    """Measure, and exit with 1 if fewer jobs are taken in, or slower, than they should be."""
    raise typer.Exit(0 if report(measure(clients=clients, seconds=seconds, rounds=rounds), clients) else 1)


if __name__ == "__main__":
    typer.run(main)
