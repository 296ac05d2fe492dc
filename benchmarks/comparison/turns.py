"""Contestants in turns: A B A B …, one at a time on the core, and the medians of their rounds."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.comparison.figures import number
from benchmarks.comparison.load import Call, Loaded, load
from benchmarks.comparison.processes import cpu_s
from benchmarks.comparison.server import Server

WARM_UP_S = 1.0
SETTLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Contestant:
    """A call, and the server that answers it; without one it is the mock itself. `postgres`: its database's pid."""

    name: str
    call: Call
    server: Server | None = None
    postgres: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: the load's figures, the server's run time for a request, its share of the core, its memory.

    `postgres_us` is the database's run time for a request, on the other core.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    core_share: float
    mb: float
    postgres_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each round is, and how many there are."""

    seconds: float = 2.0
    rounds: int = 3


def in_turns(
    contestants: Sequence[Contestant],
    *,
    connections: int,
    pace: Pace,
    folder: Path,
    tell: Callable[[str], None],
) -> dict[str, Sample]:
    """Warm each up, then measure all in turns; returns the medians by name. Servers are left paused."""
    rounds: dict[str, list[Sample]] = {each.name: [] for each in contestants}
    for each in contestants:
        tell(f"{each.name}: warm-up")
        _alone(each, connections=connections, seconds=WARM_UP_S, folder=folder)
    for past in range(pace.rounds):
        for each in contestants:
            tell(f"{each.name}: round {past + 1} of {pace.rounds}")
            sample = _alone(each, connections=connections, seconds=pace.seconds, folder=folder)
            rounds[each.name].append(sample)
    return medians(rounds)


def over(own: Sample, theirs: Sample) -> float | None:
    """Return how many times their requests a second; None where they answered nothing in time."""
    return own.rate / theirs.rate if theirs.rate else None


def rates(found: Mapping[str, Sample]) -> dict[str, float]:
    """Return requests a second by contestant."""
    return {name: sample.rate for name, sample in found.items()}


def told(found: Mapping[str, Sample]) -> str:
    """Write requests a second and the run time of each, by contestant; the mock's own is not counted."""
    return " · ".join(
        f"{name} {number(sample.rate)}/s" + (f", {number(sample.cpu_us)} µs each" if sample.cpu_us else "")
        for name, sample in found.items()
    )


def medians(rounds: Mapping[str, Sequence[Sample]]) -> dict[str, Sample]:
    """Return the median of each figure by itself."""
    names = Sample.__slots__
    return {
        contestant: Sample(
            *(statistics.median(getattr(sample, name) for sample in samples) for name in names)
        )
        for contestant, samples in rounds.items()
    }


def _alone(contestant: Contestant, *, connections: int, seconds: float, folder: Path) -> Sample:
    server = contestant.server
    if server is None:
        length = len(contestant.call.probe().content)
        loaded = load(contestant.call, length, connections=connections, seconds=seconds, folder=folder)
        return _sample(loaded, 0.0, 0.0)
    server.resume()
    try:
        time.sleep(SETTLE_S)
        length = len(contestant.call.probe().content)
        before, postgres_before = server.cpu_s, _postgres_s(contestant)
        loaded = load(contestant.call, length, connections=connections, seconds=seconds, folder=folder)
        sample = replace(
            _sample(loaded, server.cpu_s - before, server.mb),
            postgres_us=1e6 * (_postgres_s(contestant) - postgres_before) / max(1, loaded.requests),
        )
        server.work_off()
        return sample
    finally:
        server.pause()


def _postgres_s(contestant: Contestant) -> float:
    return cpu_s(contestant.postgres) if contestant.postgres else 0.0


def _sample(loaded: Loaded, ran_s: float, mb: float) -> Sample:
    return Sample(
        rate=loaded.rate,
        p50_ms=loaded.p50_ms,
        p99_ms=loaded.p99_ms,
        cpu_us=1e6 * ran_s / max(1, loaded.requests),
        core_share=ran_s / loaded.seconds,
        mb=mb,
    )
