"""Row 9: what the duties of a product cost the server, against its own endpoint without them."""

from benchmarks.comparison import ours
from benchmarks.comparison.endpoints import body
from benchmarks.comparison.figures import Figure, Target, number
from benchmarks.comparison.load import Call
from benchmarks.comparison.mocks import instant
from benchmarks.comparison.server import Server
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Contestant, told

CHUNKS, CONNECTIONS = (1, 10), 16
COST = Target(15, 5, is_ceiling=True)
ALONE = "endpoint alone"


def cost(stage: Stage) -> list[Figure]:
    """Run time of a request over that of the endpoint alone, in percent more; what Postgres runs is told beside it."""
    server, url = stage.once(ALONE, lambda: _start(stage))
    figures = []
    for chunks in CHUNKS:
        asked = body(chunks, f"http://{instant(stage)}/instant")
        alone = Contestant(ALONE, Call(f"{url}/v1/process", asked), server)
        found = stage.turns([alone, ours.fan_out(stage, chunks)], connections=CONNECTIONS)
        more = 100 * (found[ours.NAME].cpu_us / found[ALONE].cpu_us - 1)
        postgres = f"Postgres {number(found[ours.NAME].postgres_us)} µs on the other core"
        figures.append(
            Figure(
                label=f"{chunks} chunk{'s' if chunks > 1 else ''}",
                value=more,
                unit="%",
                target=COST,
                detail=f"{told(found)} · {postgres}",
            )
        )
    return figures


def _start(stage: Stage) -> tuple[Server, str]:
    return stage.uvicorn(ALONE, "benchmarks.comparison.applications.alone:app", ready="/")
