"""Rows 11 and 12: two processes over one, what a server needs of the machine, and how fast it is there."""

from dataclasses import replace

from benchmarks import start_up
from benchmarks.comparison import ours
from benchmarks.comparison.endpoints import body
from benchmarks.comparison.figures import Figure, Target
from benchmarks.comparison.load import Call
from benchmarks.comparison.mocks import instant
from benchmarks.comparison.server import Server
from benchmarks.comparison.stage import Stage, free_port
from benchmarks.comparison.turns import Contestant, over, told

CHUNKS, CLIENTS = 10, 16
CROWD = 64
IDLE, LOADED = Target(90, 60, is_ceiling=True), Target(130, 80, is_ceiling=True)
START = Target(2, 1, is_ceiling=True)


def two_processes(stage: Stage) -> list[Figure]:
    """Requests a second of two processes over those of one; everybody has both cores."""
    single = ours.product(stage)
    asked = body(CHUNKS, f"http://{instant(stage)}/instant")
    with stage.spread(single.server):
        server, url = _serving_two(stage)
        two = Contestant("two processes", Call(f"{url}/v1/process", asked, single.headers), server)
        one = replace(single.processing(asked), name="one")
        found = stage.turns([one, two], connections=CLIENTS)
    value = over(found[two.name], found[one.name])
    return [Figure(label=f"{CHUNKS} chunks, {CLIENTS} clients", value=value, detail=told(found))]


def _serving_two(stage: Stage) -> tuple[Server, str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = ours.environment_of(stage, port)
    command = ours.command("--workers", "2")
    ready = f"{url}/readyz"
    server = stage.serve("two processes", command, ready=ready, environment=environment, is_pinned=False)
    return server, url


def needs(stage: Stage) -> list[Figure]:
    """Memory, idle and under load, and seconds from the start to ready; all of it on the load's core."""
    folder = stage.folder / "start-up"
    found = start_up.measure(folder, rounds=stage.pace.rounds, seconds=stage.pace.seconds, clients=CROWD)
    embedded, external = found.embedded, found.external
    memory = "proportional set size, without Postgres"
    return [
        Figure(label="idle", value=external.idle_mb, unit="MiB", target=IDLE, detail=memory),
        Figure(label=f"under {CROWD} clients", value=found.loaded_mb, unit="MiB", target=LOADED),
        Figure(
            label="start to ready",
            value=external.ready_s,
            unit="s",
            target=START,
            detail=f"`fanfold serve` until `/readyz` is 200, {external.cpu_s:.2f} s of the core; Postgres runs already",
        ),
        Figure(label="with its own Postgres started too", value=embedded.ready_s, unit="s"),
    ]
