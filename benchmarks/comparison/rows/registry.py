"""All rows, by the numbers of the targets."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.comparison.figures import Figure
from benchmarks.comparison.rows import chunks, duties, elsewhere, fan_out, health, machine, one_call
from benchmarks.comparison.stage import Stage


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured, and how."""

    title: str
    measure: Callable[[Stage], list[Figure]]


ROWS: dict[int, Row] = {
    1: Row(
        "fan-out, mock without delay: requests/s over the naive tutorial endpoint", fan_out.over_the_tutorial
    ),
    2: Row(
        "the same over FastAPI with one shared aiohttp client, no auth, limits or metering",
        fan_out.over_aiohttp,
    ),
    3: Row("wall time of 100 and 1,000 chunks at 50 ms over the slowest chunk", chunks.wall_time),
    4: Row("CPU per chunk at 1,000 chunks over 10 chunks", chunks.run_time),
    5: Row("16 clients, 10 chunks at 50 ms: share of the ideal throughput", chunks.ideal_share),
    6: Row("one call through us, 16 clients: requests/s over nginx `proxy_pass`", one_call.over_nginx),
    7: Row("the same over LiteLLM proxy and Portkey gateway", one_call.over_gateways),
    8: Row("added median latency of one call at one client: LiteLLM's over ours", one_call.added_latency),
    9: Row(
        "what auth, limits, quota and committed metering cost in CPU, against the same endpoint without them",
        duties.cost,
    ),
    10: Row("p99 / p50 of one call at saturation, 16 clients", one_call.tail),
    11: Row(
        "two server processes over one; load, mock and Postgres share the two cores", machine.two_processes
    ),
    12: Row("memory idle and under 64 clients; start to ready with a warm database", machine.needs),
    13: Row("1,000 open event streams: memory each; a plain request beside them", elsewhere.streams),
    14: Row("jobs: chunks/s through one worker over the synchronous path's", elsewhere.job_chunks),
    15: Row("ledger: reserve + settle pairs/s, 50 callers on one hot tenant", elsewhere.ledger_pairs),
    16: Row("`POST /v1/jobs` accepted per second at 64 clients, durable; median", elsewhere.jobs_accepted),
    17: Row("100,000 usage rows out as NDJSON", elsewhere.rows_out),
    18: Row("`/healthz` requests/s over a raw ASGI application on the same server", health.over_raw),
}
