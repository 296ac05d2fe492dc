"""Rows 3, 4 and 5: many chunks in one request, and requests of chunks that take their time."""

from dataclasses import replace

from benchmarks.comparison import ours
from benchmarks.comparison.figures import Figure, Target
from benchmarks.comparison.stage import Stage

DELAY_MS = 50
WALL_TIME = {100: Target(1.15, 1.08, is_ceiling=True), 1_000: Target(2, 1.7, is_ceiling=True)}
FEW, MANY = 10, 1_000
RUN_TIME = Target(1.5, 1.05, is_ceiling=True)
CLIENTS, SHARE, CORE = 16, Target(93, 96), Target(None, 15, is_ceiling=True)


def wall_time(stage: Stage) -> list[Figure]:
    """The time of one request over that of the slowest chunk, which is the mock's delay."""
    figures = []
    for chunks, target in WALL_TIME.items():
        sample = stage.turns([ours.fan_out(stage, chunks, delay_ms=DELAY_MS)], connections=1)[ours.NAME]
        figures.append(
            Figure(
                label=f"{chunks:,} chunks",
                value=sample.p50_ms / DELAY_MS,
                target=target,
                detail=f"p50 {sample.p50_ms:.1f} ms · p99 {sample.p99_ms:.1f} ms, one request at a time",
            )
        )
    return figures


def run_time(stage: Stage) -> list[Figure]:
    """The server's run time for a chunk, in large requests over small ones."""
    sized = {chunks: replace(ours.fan_out(stage, chunks), name=f"{chunks:,}") for chunks in (FEW, MANY)}
    found = stage.turns([*sized.values()], connections=2)
    each = {chunks: found[contestant.name].cpu_us / chunks for chunks, contestant in sized.items()}
    detail = " · ".join(f"{us:.1f} µs a chunk of {chunks:,}" for chunks, us in each.items())
    return [
        Figure(label=f"{MANY:,} over {FEW}", value=each[MANY] / each[FEW], target=RUN_TIME, detail=detail)
    ]


def ideal_share(stage: Stage) -> list[Figure]:
    """Requests a second over what the delay alone would allow, and the share of the core that it takes."""
    sample = stage.turns([ours.fan_out(stage, FEW, delay_ms=DELAY_MS)], connections=CLIENTS)[ours.NAME]
    ideal = CLIENTS * 1000 / DELAY_MS
    detail = (
        f"{sample.rate:.1f} of {ideal:.0f} requests/s · p50 {sample.p50_ms:.1f} · p99 {sample.p99_ms:.1f} ms"
    )
    return [
        Figure(label="of the ideal", value=100 * sample.rate / ideal, unit="%", target=SHARE, detail=detail),
        Figure(label="of the core", value=100 * sample.core_share, unit="%", target=CORE),
    ]
