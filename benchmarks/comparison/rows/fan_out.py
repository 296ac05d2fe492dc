"""Rows 1 and 2: fan-out without delay, beside the tutorials' endpoint and beside a shared aiohttp client."""

from dataclasses import replace

from benchmarks.comparison import endpoints, ours
from benchmarks.comparison.figures import Figure, Target
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Sample, over, rates, told

CHUNKS, DRAWN = (1, 10, 50), 10
CONNECTIONS = {1: 16, 10: 16, 50: 8}
OVER_TUTORIAL = {1: Target(120, 260), 10: Target(37, 50), 50: Target(22, 26)}
OVER_AIOHTTP = Target(0.9, 1.5)


def over_the_tutorial(stage: Stage) -> list[Figure]:
    """Requests a second over the naive endpoint's; beside it the same endpoint with a shared httpx client."""
    return [
        replace(
            _figure(
                chunks, _without(samples(stage, chunks), endpoints.SHARED_AIOHTTP), OVER_TUTORIAL[chunks]
            ),
            rates=rates(samples(stage, chunks)),
            drawn_as=f"fan-out of {chunks} chunks" if chunks == DRAWN else "",
        )
        for chunks in CHUNKS
    ]


def over_aiohttp(stage: Stage) -> list[Figure]:
    """Requests a second over those of the endpoint with a shared aiohttp client."""
    return [
        _figure(
            chunks,
            _without(samples(stage, chunks), endpoints.NAIVE, endpoints.SHARED_HTTPX),
            OVER_AIOHTTP,
        )
        for chunks in CHUNKS
    ]


def samples(stage: Stage, chunks: int) -> dict[str, Sample]:
    """Measure all endpoints with requests of so many chunks, once in a run."""
    names = (endpoints.NAIVE, endpoints.SHARED_HTTPX, endpoints.SHARED_AIOHTTP)

    def measure() -> dict[str, Sample]:
        contestants = [endpoints.endpoint(stage, name, chunks) for name in names]
        return stage.turns([*contestants, ours.fan_out(stage, chunks)], connections=CONNECTIONS[chunks])

    return stage.once(f"fan-out {chunks}", measure)


def _without(found: dict[str, Sample], *names: str) -> dict[str, Sample]:
    return {name: sample for name, sample in found.items() if name not in names}


def _figure(chunks: int, found: dict[str, Sample], target: Target) -> Figure:
    """Compare ours with the first of the others."""
    base = next(iter(found.values()))
    return Figure(
        label=f"{chunks} chunk{'s' if chunks > 1 else ''}",
        value=over(found[ours.NAME], base),
        target=target,
        detail=told(found),
    )
