"""A process's worker: made of its resources, shown in its numbers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanfold.core.config import Settings
from fanfold.core.drain import Drain
from fanfold.core.telemetry.metrics import Metrics
from fanfold.jobs.service import Stop, make_worker, running_worker
from fanfold.resources import Resources


@asynccontextmanager
async def working(
    resources: Resources, metrics: Metrics, stop: Stop, *, processes: int = 1
) -> AsyncIterator[None]:
    """Work on jobs while the body runs; `processes` share the jobs that this server works on at once."""
    jobs = resources.settings.jobs
    worker = make_worker(
        database=resources.database,
        lane=resources.job_lane,
        fan_out=resources.fan_out,
        upstreams=resources.upstream_directory,
        key_ring=resources.key_ring,
        at_once=jobs.concurrency // processes,
        lease_s=jobs.lease_s,
        most_of_a_tenant=jobs.per_tenant,
        count_calls=lambda code, calls: metrics.count("fanfold_fan_out_calls_total", code, amount=calls),
    )
    for name, read in {
        "fanfold_jobs_running": lambda: worker.running,
        "fanfold_job_turns_total": lambda: worker.turns,
        "fanfold_jobs_lost_total": lambda: worker.lost,
        "fanfold_job_attempts_failed_total": lambda: worker.failed,
    }.items():
        metrics.watch(name, read)
    async with running_worker(worker, resources.database, stop):
        yield


@asynccontextmanager
async def beside(resources: Resources, metrics: Metrics, drain: Drain) -> AsyncIterator[None]:
    """Work on jobs beside the requests, unless others are to do that; stops when the server does."""
    settings = resources.settings
    if not settings.jobs.worker:
        yield
        return
    stop = Stop(drain.begun, grace_s=settings.server.drain_s)
    async with working(resources, metrics, stop, processes=_processes(settings)):
        yield


def _processes(settings: Settings) -> int:
    # `serve` has made a number of `auto`; under another server nobody has.
    workers = settings.server.workers
    return max(1, workers) if isinstance(workers, int) else 1
