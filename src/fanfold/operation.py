"""What operators watch: which numbers are shown, who may see them, and when the server counts as ready."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from sqlalchemy import text
from starlette.types import Scope as AsgiScope

from fanfold.auth.principal import Principal, Scope
from fanfold.core.revisions import current_revision, head
from fanfold.core.telemetry.exposition import Exposition, serve_metrics
from fanfold.core.telemetry.metrics import Metrics
from fanfold.resources import Resources

Check = Callable[[], Awaitable[bool]]


def is_operator(scope: AsgiScope) -> bool:
    """Whether a request comes with an operator's key."""
    principal: Principal | None = scope["state"].get("principal")
    return principal is not None and Scope.OPERATOR in principal.scopes


def readiness_checks(app: FastAPI) -> Mapping[str, Check]:
    """Return what has to hold before requests may come; the server drains by not being ready."""
    newest = head()

    async def database() -> bool:
        async with app.state.database.begin() as connection:
            await connection.execute(text("select 1"))
        return True

    async def migrations() -> bool:
        async with app.state.database.begin() as connection:
            return await current_revision(connection) == newest

    async def signing_key() -> bool:
        await app.state.signing_keys.check()
        return True

    return {"database": database, "migrations": migrations, "signing key": signing_key}


def _watch(resources: Resources, metrics: Metrics) -> None:
    offload, ledger, sweeper, relay = (
        resources.offload,
        resources.ledger,
        resources.sweeper,
        resources.relay,
    )
    concurrency = resources.concurrency
    breaker, retry_budgets = resources.fan_out.resilience.breaker, resources.fan_out.resilience.retry_budgets
    for name, read in {
        "fanfold_concurrent_requests": lambda: concurrency.running,
        "fanfold_sockets_open": lambda: len(resources.socket_watch),
        "fanfold_sockets_of_strangers": lambda: len(resources.strangers),
        "fanfold_offload_running": lambda: offload.running,
        "fanfold_offload_waiting": lambda: offload.waiting,
        "fanfold_ledger_queue": lambda: ledger.queued,
        "fanfold_ledger_flushes_total": lambda: ledger.figures.flushes,
        "fanfold_ledger_late_total": lambda: ledger.figures.late,
        "fanfold_ledger_unbilled_total": lambda: ledger.figures.unbilled,
        "fanfold_ledger_swept_total": lambda: sweeper.swept,
        "fanfold_outbox_delivered_total": lambda: relay.delivered,
        "fanfold_outbox_failed_total": lambda: relay.failed,
        "fanfold_outbox_dead_total": lambda: relay.dead,
        "fanfold_usage_default_partition_rows": lambda: resources.upkeep.default_rows,
        "fanfold_rate_limit_asks_total": lambda: resources.rate_limit_store.figures().calls,
        "fanfold_rate_limit_fallbacks_total": lambda: resources.rate_limit_store.figures().fallbacks,
        "fanfold_fan_out_slots_in_use": lambda: resources.fan_out.in_flight,
        "fanfold_fan_out_waiting": lambda: resources.fan_out.waiting,
        "fanfold_circuits_open": lambda: breaker.open,
        "fanfold_circuits": lambda: len(breaker),
        "fanfold_circuit_refused_total": lambda: breaker.refused,
        "fanfold_retry_budgets": lambda: len(retry_budgets),
        "fanfold_retries_refused_total": lambda: retry_budgets.refused,
    }.items():
        metrics.watch(name, read)
    _watch_webhooks(resources, metrics)
    _watch_jobs(resources, metrics)
    told = resources.quota_warnings.told
    for level in told:
        metrics.watch("fanfold_quota_warnings_total", partial(told.__getitem__, level), str(level))


def _watch_webhooks(resources: Resources, metrics: Metrics) -> None:
    deliverer, upkeep = resources.deliverer, resources.webhook_upkeep
    metrics.watch("fanfold_webhook_attempts_running", lambda: deliverer.running)
    metrics.watch("fanfold_webhook_deliveries_pending", lambda: upkeep.pending)
    for outcome in deliverer.told:
        metrics.watch(
            "fanfold_webhook_deliveries_total", partial(deliverer.told.__getitem__, outcome), outcome
        )


def _watch_jobs(resources: Resources, metrics: Metrics) -> None:
    figures, watch, purge = resources.job_figures, resources.job_watch, resources.job_purge
    metrics.watch("fanfold_jobs_queued", lambda: figures.now.queued)
    metrics.watch("fanfold_jobs_dead", lambda: figures.now.dead)
    metrics.watch("fanfold_job_turns_waiting", lambda: figures.now.turns)
    metrics.watch("fanfold_job_turns_oldest_seconds", lambda: figures.now.oldest_s)
    metrics.watch("fanfold_job_workers", lambda: figures.now.workers)
    metrics.watch("fanfold_jobs_watched", lambda: watch.watched)
    metrics.watch("fanfold_jobs_purged_total", lambda: purge.done)


@asynccontextmanager
async def observed(resources: Resources, metrics: Metrics, exposition: Exposition) -> AsyncIterator[None]:
    """Show the process's numbers while it runs, also on `METRICS_PORT` where that is set."""
    _watch(resources, metrics)
    settings = resources.settings
    async with AsyncExitStack() as stack:
        stack.callback(metrics.close)
        stack.callback(exposition.close)
        if settings.telemetry.metrics_port is not None:
            port = settings.telemetry.metrics_port
            await stack.enter_async_context(serve_metrics(exposition, host=settings.server.host, port=port))
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(metrics.publish())
            yield
            publishing.cancel()
