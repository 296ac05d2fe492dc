"""Every metric of the server, in one table: what is not here cannot be counted or shown.

`http_requests_total` and `http_request_duration_seconds` are the two that are measured for each request.
"""

from enum import Enum

from fanfold.core.values import value


class Kind(Enum):
    """What a metric is: a gauge falls too, a counter only rises. A shared gauge is of all workers: never summed."""

    GAUGE = "gauge"
    SHARED_GAUGE = "shared gauge"
    COUNTER = "counter"


@value
class Metric:
    """One metric; `label` names its only label, whose values must come from a short list."""

    name: str
    help: str
    kind: Kind
    label: str | None = None


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


CATALOGUE = _table(
    Metric("fanfold_offload_running", "Calls that hold a thread of the offload pool", Kind.GAUGE),
    Metric("fanfold_offload_waiting", "Calls that wait for a thread of the offload pool", Kind.GAUGE),
    Metric("fanfold_log_dropped_total", "Log lines dropped: full queue or failed write", Kind.COUNTER),
    Metric("fanfold_ledger_queue", "Ledger operations that wait for a flush", Kind.GAUGE),
    Metric("fanfold_ledger_flushes_total", "Group commits of the ledger", Kind.COUNTER),
    Metric(
        "fanfold_ledger_late_total", "Settlements that came after their reservation was swept", Kind.COUNTER
    ),
    Metric("fanfold_ledger_unbilled_total", "Settlements written with 0 units", Kind.COUNTER),
    Metric("fanfold_ledger_swept_total", "Reservations that expired and were swept", Kind.COUNTER),
    Metric(
        "fanfold_usage_default_partition_rows",
        "Usage events in no month's partition; there should be none",
        Kind.SHARED_GAUGE,
    ),
    Metric(
        "fanfold_fan_out_calls_total", "Ended upstream calls by code; ok for success", Kind.COUNTER, "code"
    ),
    Metric("fanfold_fan_out_slots_in_use", "Upstream calls in flight", Kind.GAUGE),
    Metric("fanfold_fan_out_waiting", "Upstream calls that wait for a slot or a turn", Kind.GAUGE),
    Metric("fanfold_circuits_open", "Circuits of upstreams that refuse calls just now", Kind.GAUGE),
    Metric("fanfold_circuits", "Circuits in memory: upstreams asked of late, by tenant", Kind.GAUGE),
    Metric("fanfold_circuit_refused_total", "Upstream calls refused by an open circuit", Kind.COUNTER),
    Metric("fanfold_retry_budgets", "Retry budgets in memory: those that are not full", Kind.GAUGE),
    Metric("fanfold_retries_refused_total", "Retries not made: the budget was spent", Kind.COUNTER),
    Metric(
        "fanfold_rate_limited_total", "Requests refused by a rate limit, by bucket", Kind.COUNTER, "bucket"
    ),
    Metric("fanfold_outbox_delivered_total", "Messages of the outbox that were delivered", Kind.COUNTER),
    Metric("fanfold_outbox_failed_total", "Deliveries of the outbox that failed", Kind.COUNTER),
    Metric("fanfold_outbox_dead_total", "Messages of the outbox that were given up", Kind.COUNTER),
    Metric("fanfold_quota_warnings_total", "Quotas nearly used, by percent", Kind.COUNTER, "level"),
    Metric(
        "fanfold_concurrent_requests",
        "Requests that run, of those with a limit; an open WebSocket is one too",
        Kind.GAUGE,
    ),
    Metric("fanfold_sockets_open", "WebSockets that are open, of clients that said who they are", Kind.GAUGE),
    Metric("fanfold_sockets_of_strangers", "WebSockets that wait for a credential", Kind.GAUGE),
    Metric(
        "fanfold_webhook_deliveries_total",
        "Attempts at webhooks by outcome; failed ones come again, dead ones do not",
        Kind.COUNTER,
        "outcome",
    ),
    Metric("fanfold_webhook_attempts_running", "Attempts at webhooks under way", Kind.GAUGE),
    Metric("fanfold_webhook_deliveries_pending", "Deliveries that wait, of all tenants", Kind.SHARED_GAUGE),
    Metric(
        "fanfold_concurrency_refused_total",
        "Requests refused by a limit of concurrent requests, by holder",
        Kind.COUNTER,
        "holder",
    ),
    Metric("fanfold_rate_limit_asks_total", "Questions to the shared store of rate limits", Kind.COUNTER),
    Metric(
        "fanfold_rate_limit_fallbacks_total",
        "Requests whose rate limit another store decided, its own being away",
        Kind.COUNTER,
    ),
    Metric("fanfold_jobs_queued", "Jobs of all tenants that wait for their first turn", Kind.SHARED_GAUGE),
    Metric("fanfold_jobs_dead", "Jobs of all tenants that were given up", Kind.SHARED_GAUGE),
    Metric("fanfold_job_turns_waiting", "Turns of jobs that wait for a worker", Kind.SHARED_GAUGE),
    Metric(
        "fanfold_job_turns_oldest_seconds",
        "Seconds that the oldest turn of those that wait has been due",
        Kind.SHARED_GAUGE,
    ),
    Metric("fanfold_job_workers", "Workers that have a job, on all machines", Kind.SHARED_GAUGE),
    Metric("fanfold_jobs_watched", "Jobs whose events are streamed", Kind.GAUGE),
    Metric(
        "fanfold_jobs_purged_total",
        "Jobs, and parts of input, removed when their time was over",
        Kind.COUNTER,
    ),
    Metric("fanfold_jobs_running", "Jobs that are worked on just now", Kind.GAUGE),
    Metric(
        "fanfold_job_turns_total",
        "Jobs that turns took or went on with: about 50 calls each, where others wait",
        Kind.COUNTER,
    ),
    Metric("fanfold_jobs_lost_total", "Turns that ended since another worker had the job", Kind.COUNTER),
    Metric("fanfold_job_attempts_failed_total", "Turns of jobs that failed", Kind.COUNTER),
    Metric("process_cpu_seconds_total", "CPU seconds, user and system", Kind.COUNTER),
    Metric("process_resident_memory_bytes", "Resident memory in bytes", Kind.GAUGE),
    Metric("process_open_fds", "Open file descriptors", Kind.GAUGE),
    Metric("fanfold_processes", "Processes of this server that answer requests", Kind.GAUGE),
)
