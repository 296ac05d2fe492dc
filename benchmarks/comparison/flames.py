"""Where our own time goes: flame graphs of the server under load, by py-spy's samples, beside the page."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import ours
from benchmarks.comparison.flame_graph import svg, tree
from benchmarks.comparison.load import load
from benchmarks.comparison.peers import py_spy
from benchmarks.comparison.server import NotHere, Server
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Contestant

SECONDS = 10
# More, and the server does little else than be looked at.
SAMPLES_A_SECOND = 200
_END = 400


@dataclass(frozen=True, slots=True)
class Flame:
    """A flame graph: of what load, and its file beside the page."""

    title: str
    file: str
    contestant: Callable[[Stage], Contestant]
    connections: int


FLAMES = (
    Flame("One call, 16 clients", "flame-one-call.svg", ours.one_call, 16),
    Flame("50 chunks, 16 clients", "flame-50-chunks.svg", lambda stage: ours.fan_out(stage, 50), 16),
    Flame(
        "1,000 chunks of 50 ms, one client",
        "flame-1000-chunks.svg",
        lambda stage: ours.fan_out(stage, 1000, delay_ms=50),
        1,
    ),
)


def draw(stage: Stage, folder: Path) -> Sequence[Flame]:
    """Draw all into `folder`, and return them. Raises `NotHere` where py-spy cannot look into the server."""
    program = py_spy(stage.cache)
    for flame in FLAMES:
        stage.tell(f"flame graph: {flame.title}")
        call, server = flame.contestant(stage).call, ours.product(stage).server
        stacks = stage.folder / "stacks.txt"
        with _resumed(server), recording(program, server.process.pid, stacks):
            length = len(call.probe().content)
            load(call, length, connections=flame.connections, seconds=SECONDS, folder=stage.folder)
        drawn = svg(flame.title, tree(stacks.read_text().splitlines()))
        (folder / flame.file).write_text(drawn, encoding="utf-8")
    return FLAMES


@contextmanager
def recording(program: Path, pid: int, file: Path) -> Iterator[None]:
    """Note the stacks of a process meanwhile, folded, in `file`. Raises `NotHere` with what py-spy said."""
    watched = ["--pid", str(pid), "--rate", str(SAMPLES_A_SECOND), "--duration", str(SECONDS)]
    # Not stopped for each sample, some of which are torn: stopped, it answers a fourth of what it does otherwise.
    how = ["--nonblocking", "--function", "--format", "raw", "--output", str(file)]
    command = [str(program), "record", *watched, *how]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as recorder:
        yield
        said = recorder.communicate(timeout=10 * SECONDS)[1]
    if recorder.returncode or not file.exists():
        raise NotHere(f"py-spy saw nothing: {said[-_END:].strip()}")


@contextmanager
def _resumed(server: Server) -> Iterator[None]:
    server.resume()
    try:
        yield
        server.work_off()
    finally:
        server.pause()
