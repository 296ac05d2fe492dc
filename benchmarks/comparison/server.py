"""A server process under measurement: pinned, and stopped by a signal while others are measured."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.comparison.processes import cpu_s, pss_mb

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 40.0
BACKLOG_TIMEOUT_S = 20.0
_IDLE_SHARE = 0.05
_POLL_S = 0.02
_END = 600


class NotHere(Exception):
    """Something that a row needs is not on this machine; the message says what, and how to get it."""


@dataclass(slots=True)
class Server:
    """A running server, the seconds that it took to be ready, and its memory then, in MB."""

    name: str
    process: subprocess.Popen[bytes]
    start_s: float
    idle_mb: float = 0.0

    @property
    def cpu_s(self) -> float:
        """Seconds that it has run, all processes and threads together."""
        return cpu_s(self.process.pid)

    @property
    def mb(self) -> float:
        """Memory that it has now."""
        return pss_mb(self.process.pid)

    def pause(self) -> None:
        """Take the core away from it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Give the core back to it."""
        self._signal(signal.SIGCONT)

    def work_off(self) -> None:
        """Wait until it has worked off what connections that were cut have left behind."""
        end = time.monotonic() + BACKLOG_TIMEOUT_S
        while time.monotonic() < end:
            before = self.cpu_s
            time.sleep(0.2)
            if self.cpu_s - before < 0.2 * _IDLE_SHARE:
                return

    def stop(self) -> None:
        """End it, by force where it does not end by itself."""
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, kind: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, kind)


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    *,
    core: int | None,
    ready: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server on a core, or on all, from when `ready` is answered below 500; what it says goes into `log`."""
    if shutil.which("taskset") is None:
        raise NotHere("taskset pins servers to a core: apt install util-linux.")
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [*pinned, *command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        server = Server(name, process, 0.0)
        try:
            _until_ready(server, ready, log)
            server.start_s = time.monotonic() - started
            yield server
        finally:
            server.stop()


def _until_ready(server: Server, url: str, log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not _answers(url):
        if server.process.poll() is not None or time.monotonic() > end:
            said = log.read_text(errors="replace")[-_END:].strip()
            raise NotHere(f"{server.name} did not start. The end of what it said:\n{said}")
        time.sleep(_POLL_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False
