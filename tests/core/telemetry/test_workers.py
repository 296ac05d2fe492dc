import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanfold.core.telemetry.metrics import _Files
from fanfold.core.telemetry.workers import WorkerGroup, is_worker

HERE = Path(__file__).parent
SAFETY_S = 120
Numbers = dict[str, float]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def uvicorn(port: int) -> list[str]:
    return ["uvicorn", "worker_app:app", "--workers", "2", "--port", str(port), "--log-level", "warning"]


def gunicorn(port: int) -> list[str]:
    worker = "uvicorn_worker.UvicornWorker"
    return [
        "gunicorn",
        "worker_app:app",
        "-w",
        "2",
        "-k",
        worker,
        "-b",
        f"127.0.0.1:{port}",
        "--log-level",
        "warning",
    ]


def preloading_gunicorn(port: int) -> list[str]:
    return [*gunicorn(port), "--preload"]


SERVERS = pytest.mark.parametrize("command", [uvicorn, gunicorn, preloading_gunicorn])


class Server:
    """A server of two workers, seen by its clients."""

    def __init__(self, port: int, client: httpx.AsyncClient) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._client = client

    async def ask(self, count: int) -> set[int]:
        """Return which workers answered `count` requests."""
        turns = [self._client.get(f"{self.address}/pid/{turn}") for turn in range(count)]
        return {answer.json() for answer in [await turn for turn in turns]}

    async def numbers(self) -> Numbers:
        text = (await self._client.get(f"{self.address}/metrics")).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        found: Numbers = {}
        for sample in samples:
            if sample.labels.get("route") in {None, "/pid/{_turn}"} and "le" not in sample.labels:
                found[sample.name] = found.get(sample.name, 0) + sample.value
        return found

    async def until(self, holds: Callable[[Numbers], bool]) -> Numbers:
        """Return the numbers once they are so: a request is counted a moment after its answer."""
        found: Numbers = {}
        try:
            async with asyncio.timeout(SAFETY_S):
                while True:
                    found = await self.numbers()
                    if holds(found):
                        return found
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"The numbers stay {found}")


@asynccontextmanager
async def served(command: Callable[[int], list[str]], tmp_path: Path) -> AsyncIterator[Server]:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-m", *command(port)], cwd=HERE, env=environment)
    # A connection for each request, so that both workers get some.
    limits = httpx.Limits(max_keepalive_connections=0)
    try:
        async with (
            httpx.AsyncClient(limits=limits, timeout=SAFETY_S) as client,
            asyncio.timeout(4 * SAFETY_S),
        ):
            server = Server(port, client)
            while True:
                try:
                    await server.numbers()
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            await server.until(lambda found: found["fanfold_processes"] == 2)
            yield server
    finally:
        process.terminate()
        process.wait(SAFETY_S)


async def ask_both(server: Server) -> tuple[int, set[int]]:
    asked, answered = 0, set[int]()
    while len(answered) < 2:
        answered |= await server.ask(20)
        asked += 20
    return asked, answered


@SERVERS
async def test_the_sum_over_workers_is_right_through_deaths_and_not_stale_after_a_restart(
    command: Callable[[int], list[str]], tmp_path: Path
) -> None:
    async with served(command, tmp_path) as server:
        asked, workers = await ask_both(server)
        found = await server.until(lambda found: found["http_requests_total"] >= asked)
        assert found["http_requests_total"] == found["http_request_duration_seconds_count"] == asked
        assert found["fanfold_fan_out_calls_total"] == 2 * asked
        await server.until(lambda found: found["fanfold_log_dropped_total"] == asked)
        await server.until(lambda found: found["fanfold_offload_running"] == 20)

        os.kill(min(workers), signal.SIGKILL)  # its counts stay, its gauges go
        async with asyncio.timeout(SAFETY_S):
            while await server.ask(20) <= workers:  # until its successor answers
                asked += 20
            asked += 20
        found = await server.until(lambda found: found["http_requests_total"] >= asked)
        assert found["http_requests_total"] == found["http_request_duration_seconds_count"] == asked
        assert found["fanfold_fan_out_calls_total"] == 2 * asked
        both = ("fanfold_processes", "fanfold_offload_running")
        await server.until(lambda found: [found[name] for name in both] == [2, 20])

    async with served(command, tmp_path) as again:
        assert (await again.numbers()).get("http_requests_total", 0) == 0
        groups = list(tmp_path.glob("fanfold-*/*"))
        assert len(groups) == 1  # what the first left is gone


def test_a_lone_process_is_no_worker() -> None:
    assert not is_worker()


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(RuntimeError, match="TMPDIR"):
        WorkerGroup.join(tmp_path / "link")


def test_a_worker_that_comes_while_another_is_there_empties_nothing(tmp_path: Path) -> None:
    first = WorkerGroup.join(tmp_path)
    (first.path / "counter_1.db").touch()
    second = WorkerGroup.join(tmp_path)
    assert (first.path / "counter_1.db").exists()
    first.leave()
    second.leave()
    third = WorkerGroup.join(tmp_path)
    assert not (third.path / "counter_1.db").exists()
    third.leave()


def test_a_file_that_is_just_being_made_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "counter_4711.db").touch()
    assert list(_Files(tmp_path).collect()) == []
