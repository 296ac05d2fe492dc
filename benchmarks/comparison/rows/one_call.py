"""Rows 6, 7, 8 and 10: one call of a model through us, beside nginx and the other gateways."""

from collections.abc import Callable
from dataclasses import replace

from benchmarks.comparison import gateways, mocks, ours
from benchmarks.comparison.commits import two_commits_ms
from benchmarks.comparison.figures import Figure, Target, number
from benchmarks.comparison.server import NotHere
from benchmarks.comparison.stage import Stage
from benchmarks.comparison.turns import Contestant, Sample, over, rates, told

CONNECTIONS = 16
OVER_NGINX = Target(0.04, 0.1)
OVER_LITELLM, OVER_PORTKEY = Target(60, 150), Target(8, 18)
ADDED = Target(40, 100)
TAIL = Target(3, 1.8, is_ceiling=True)


def over_nginx(stage: Stage) -> list[Figure]:
    """Requests a second over those of nginx's `proxy_pass`."""
    figure = _over(stage, "of nginx", gateways.yardstick, OVER_NGINX)
    found = _samples(stage)
    own = found[ours.NAME].rate
    return [replace(figure, rates=rates(found), drawn_as="one call", absolute=f"{number(own)} requests/s")]


def over_gateways(stage: Stage) -> list[Figure]:
    """Requests a second over LiteLLM's and Portkey's."""
    return [
        _over(stage, "over LiteLLM", gateways.litellm, OVER_LITELLM),
        _over(stage, "over Portkey", gateways.portkey, OVER_PORTKEY),
    ]


def added_latency(stage: Stage) -> list[Figure]:
    """How many times less median latency we add to a call than LiteLLM does, at one client."""
    label = "less than LiteLLM"
    try:
        found = _samples(stage, connections=1)
        direct = found["mock"].p50_ms
        added = {name: sample.p50_ms - direct for name, sample in found.items() if name != "mock"}
        theirs = added[gateways.litellm(stage).name]
    except NotHere as absent:
        return [Figure(label=label, value=None, target=ADDED, detail=str(absent))]
    added["two commits of one row alone"] = two_commits_ms(ours.data_dir(stage))
    detail = " · ".join(f"{name} +{1000 * ms:,.0f} µs" for name, ms in added.items())
    return [Figure(label=label, value=theirs / added[ours.NAME], target=ADDED, detail=detail)]


def tail(stage: Stage) -> list[Figure]:
    """The 99th percentile over the median, at saturation."""
    sample = _samples(stage)[ours.NAME]
    return [
        Figure(
            label="p99 over p50",
            value=sample.p99_ms / sample.p50_ms,
            target=TAIL,
            detail=f"p50 {sample.p50_ms:.2f} ms · p99 {sample.p99_ms:.2f} ms",
        )
    ]


def _over(stage: Stage, label: str, peer: Callable[[Stage], Contestant], target: Target) -> Figure:
    try:
        name = peer(stage).name
        found = _samples(stage)
    except NotHere as absent:
        return Figure(label=label, value=None, target=target, detail=str(absent))
    own, theirs = found[ours.NAME], found[name]
    return Figure(
        label=label,
        value=over(own, theirs),
        target=target,
        detail=told({ours.NAME: own, name: theirs}),
    )


def _samples(stage: Stage, connections: int = CONNECTIONS) -> dict[str, Sample]:
    def measure() -> dict[str, Sample]:
        contestants = [mocks.directly(stage, gateways.CHAT_BODY)] if connections == 1 else []
        for peer in (gateways.yardstick, gateways.litellm, gateways.portkey):
            try:
                contestants.append(peer(stage))
            except NotHere as absent:
                stage.tell(str(absent))
        return stage.turns([*contestants, ours.one_call(stage)], connections=connections)

    return stage.once(f"one call at {connections}", measure)
