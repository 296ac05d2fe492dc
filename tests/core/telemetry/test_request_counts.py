"""One process counts for itself, several by files: what is read is the same."""

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from fanfold.core.telemetry.request_counts import (
    BOUNDS_S,
    OwnRequestCounts,
    RequestCounts,
    SharedRequestCounts,
)

# Binary fractions, so that sums do not depend on their order; the bounds themselves belong to their bucket.
SECONDS = (0.0, 0.00390625, *BOUNDS_S, 0.0078125, 0.75, 1000.5)


def read(counts: type[OwnRequestCounts | SharedRequestCounts]) -> str:
    disable_created_metrics()
    registry = CollectorRegistry()
    made: RequestCounts = counts(registry)
    before = generate_latest(registry).decode()
    for seconds in SECONDS:
        made.observe("POST", "/v1/process", 200, seconds)
    made.observe("POST", "/v1/process", 503, 0.5)
    made.observe("GET", '/v1/jobs/{job_id}/"results"', 200, 2.5)
    return before + generate_latest(registry).decode()


def test_both_are_read_alike_to_the_letter() -> None:
    text = read(OwnRequestCounts)
    assert text == read(SharedRequestCounts)
    assert 'http_requests_total{method="POST",route="/v1/process",status="503"} 1.0' in text
    assert f'http_request_duration_seconds_count{{route="/v1/process"}} {len(SECONDS) + 1}.0' in text
