"""Row 18: what the shortest answer costs on the whole way through our layers."""

from benchmarks.comparison import ours
from benchmarks.comparison.figures import Figure, Target, number
from benchmarks.comparison.load import Call
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Contestant, over, told

CONNECTIONS = 16
RAW = "raw ASGI"


def over_raw(stage: Stage) -> list[Figure]:
    """`/healthz` requests a second over a raw ASGI application's on the same server."""
    server, url = stage.once(
        RAW, lambda: stage.uvicorn(RAW, "benchmarks.comparison.applications.raw:app", ready="/healthz")
    )
    own = ours.product(stage)
    contestants = [
        Contestant(RAW, Call(f"{url}/healthz"), server),
        Contestant(ours.NAME, Call(f"{own.url}/healthz"), own.server),
    ]
    found = stage.turns(contestants, connections=CONNECTIONS)
    return [
        Figure(
            label="of a raw application",
            value=over(found[ours.NAME], found[RAW]),
            target=Target(0.6, 0.9),
            detail=told(found),
            absolute=f"{number(found[ours.NAME].rate)} requests/s",
        )
    ]
