"""What the rows of one run share: its folder, its cores, the mock, and servers that start when a row first asks."""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.comparison.server import NotHere, Server, serving
from benchmarks.comparison.turns import Contestant, Pace, Sample, in_turns
from benchmarks.cores import Cores, pin, processes

T = TypeVar("T")


@dataclass(slots=True)
class Stage:
    """One run. `folder` is thrown away after it; `cache` keeps what peers need from run to run."""

    folder: Path
    cache: Path
    cores: Cores
    pace: Pace
    stack: ExitStack
    tell: Callable[[str], None]
    has_peers: bool = True
    beside: list[int] = field(default_factory=list)
    _kept: dict[str, Any] = field(default_factory=dict)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` gave the first time; what was not here then is not here later."""
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except NotHere as absent:
                self._kept[key] = absent
        if isinstance(self._kept[key], NotHere):
            raise self._kept[key]
        found: T = self._kept[key]
        return found

    def serve(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: str,
        environment: Mapping[str, str] | None = None,
        is_measured: bool = True,
        is_pinned: bool = True,
    ) -> Server:
        """Start a server that runs until the end of the run; a measured one has its core, and is paused.

        One that is not pinned has the cores that this process has now.
        """
        self.tell(f"starting {name}")
        core = (self.cores.server if is_measured else self.cores.load) if is_pinned else None
        log = self.folder / f"{name.replace(' ', '-')}.log"
        running = serving(name, command, core=core, ready=ready, log=log, environment=environment)
        server = self.stack.enter_context(running)
        if not is_measured:
            self.beside.append(server.process.pid)
        if is_measured:
            server.work_off()
            server.idle_mb = server.mb
            server.pause()
        return server

    @contextmanager
    def both_cores(self) -> Iterator[None]:
        """Let this process, and what it starts meanwhile, have both cores; then it has the load's again."""
        with self._on_both(os.getpid(), back=self.cores.load):
            yield

    @contextmanager
    def spread(self, server: Server) -> Iterator[None]:
        """Let a server, this process, the mocks and Postgres all have both cores."""
        with (
            self.both_cores(),
            self._on_both(*self.beside, back=self.cores.load),
            self._on_both(server.process.pid, back=self.cores.server),
        ):
            yield

    @contextmanager
    def _on_both(self, *pids: int, back: int) -> Iterator[None]:
        everybody = [each for pid in pids for each in processes(pid)]
        for pid in everybody:
            pin(pid, self.cores.server, self.cores.load)
        try:
            yield
        finally:
            for pid in everybody:
                pin(pid, back)

    def uvicorn(self, name: str, application: str, *, ready: str = "/docs") -> tuple[Server, str]:
        """Serve an ASGI application as ours is served; returns the server and its address."""
        url = f"http://127.0.0.1:{(port := free_port())}"
        quiet = ("--log-level", "warning", "--no-access-log", "--loop", "uvloop", "--http", "httptools")
        command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), *quiet]
        return self.serve(name, command, ready=url + ready), url

    def turns(self, contestants: Sequence[Contestant], *, connections: int) -> dict[str, Sample]:
        """Measure contestants in turns; returns their medians by name."""
        return in_turns(
            contestants, connections=connections, pace=self.pace, folder=self.folder, tell=self.tell
        )


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
