"""Rows 13 to 17: what other benchmarks of this folder measure, each on a server of its own with a core of its own."""

import statistics

from benchmarks import export, job_intake, jobs, ledger, open_streams
from benchmarks.comparison.figures import Figure, Target, number
from benchmarks.comparison.stage import Stage

STREAMS, ROWS, CALLERS, CLIENTS = 1_000, 100_000, 50, 64
STREAM_KB, STREAM_TAIL = Target(60, 25, is_ceiling=True), Target(2, 1.3, is_ceiling=True)
JOBS, LEDGER = Target(0.5, 0.8), Target(20, 40)
INTAKE, INTAKE_MS = Target(1_850, 5_000), Target(45, 15, is_ceiling=True)
EXPORT_S = Target(2, 0.7, is_ceiling=True)


def streams(stage: Stage) -> list[Figure]:
    """Memory of each open stream, and a plain request beside them over alone."""
    with stage.both_cores():
        found = open_streams.run(
            streams=STREAMS, seconds=stage.pace.seconds, rounds=min(2, stage.pace.rounds)
        )
    kb = [each * 1.024 for each in found.kib]
    alone, beside = found.alone[1], found.beside[1]
    return [
        Figure(
            label="each",
            value=kb[0],
            unit="KB",
            target=STREAM_KB,
            detail=f"by round {', '.join(map(number, kb))}: later ones find memory there",
        ),
        Figure(
            label="p99 beside over alone",
            value=found.tail_ratio,
            target=STREAM_TAIL,
            detail=f"p99 {alone:.2f} ms alone · {beside:.2f} ms beside {STREAMS:,} streams",
        ),
    ]


def job_chunks(stage: Stage) -> list[Figure]:
    """Chunks a second through one worker over the synchronous path's."""
    chunks, many = 200, 20
    with stage.both_cores():
        seconds = jobs.run(chunks=chunks, jobs=many, rounds=stage.pace.rounds)
    rates = {name: chunks * many / statistics.median(each) for name, each in seconds.items()}
    detail = " · ".join(f"{name} {number(rate)} chunks/s" for name, rate in rates.items())
    return [Figure(label="of the synchronous", value=jobs.ratio(seconds), target=JOBS, detail=detail)]


def ledger_pairs(stage: Stage) -> list[Figure]:
    """Pairs of reserve and settle a second, over a transaction for each operation."""
    with stage.both_cores():
        found = ledger.run(callers=[CALLERS], seconds=stage.pace.seconds, rounds=stage.pace.rounds)
    ours, each, by_hand = found[CALLERS]
    detail = f"{number(ours.rate)} pairs/s · {number(each.rate)} with a transaction each"
    hand = f"plain statements by hand {number(by_hand.rate)}: {number(ours.rate / by_hand.rate)} ×"
    return [
        Figure(
            label="over a transaction each",
            value=ours.rate / each.rate,
            target=LEDGER,
            detail=f"{detail} · {hand}",
        )
    ]


def jobs_accepted(stage: Stage) -> list[Figure]:
    """Jobs taken in a second, each answered after its commit."""
    with stage.both_cores():
        found = job_intake.measure(clients=CLIENTS, seconds=stage.pace.seconds, rounds=stage.pace.rounds)
    rate, p50 = (
        statistics.median(values) for values in zip(*((f.rate, f.p50_ms) for f in found), strict=True)
    )
    cpu = statistics.median(each.cpu_us for each in found)
    return [
        Figure(
            label="accepted a second",
            value=rate,
            unit="/s",
            target=INTAKE,
            absolute=f"{number(rate)} jobs/s at {number(p50)} ms",
            detail=f"{number(cpu)} µs each; as many jobs are in the database as were answered",
        ),
        Figure(label="median", value=p50, unit="ms", target=INTAKE_MS),
    ]


def rows_out(stage: Stage) -> list[Figure]:
    """Seconds for the whole export, and by what the server's memory grows meanwhile."""
    with stage.both_cores():
        found = export.measure(rows=ROWS, rounds=stage.pace.rounds)
    seconds = statistics.median(each.seconds for each in found)
    grown = ", ".join(number(each.grown_mib) for each in found)
    return [
        Figure(
            label=f"{ROWS:,} rows",
            value=seconds,
            unit="s",
            absolute=f"{number(seconds)} s",
            target=EXPORT_S,
            detail=f"{number(found[0].megabytes)} MB; memory's peak grew by {grown} MiB, by round",
        )
    ]
