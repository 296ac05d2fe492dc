import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanfold.core.telemetry.catalogue import CATALOGUE, Kind
from fanfold.core.telemetry.metrics import MAX_LABEL_VALUES, Metrics


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics(shared=False)
    yield made
    made.close()


class TestRequests:
    def test_are_counted_by_method_route_and_status_and_timed_by_route(self, metrics: Metrics) -> None:
        for status in (200, 200, 503):
            metrics.observe(method="POST", route="/v1/process", status=status, seconds=0.02)
        found = read(metrics.render())
        labels = (("method", "POST"), ("route", "/v1/process"))
        assert found["http_requests_total", (*labels, ("status", "200"))] == 2
        assert found["http_requests_total", (*labels, ("status", "503"))] == 1
        assert found["http_request_duration_seconds_count", (("route", "/v1/process"),)] == 3
        assert found["http_request_duration_seconds_bucket", (("le", "0.025"), ("route", "/v1/process"))] == 3
        assert found["http_request_duration_seconds_bucket", (("le", "0.01"), ("route", "/v1/process"))] == 0

    def test_invented_methods_make_one_series(self, metrics: Metrics) -> None:
        for turn in range(500):
            metrics.observe(method=f"M{turn}", route="(unmatched)", status=404, seconds=0)
        series = [labels for name, labels in read(metrics.render()) if name == "http_requests_total"]
        assert [dict(labels)["method"] for labels in series] == ["OTHER"]


class TestCatalogue:
    def test_every_metric_without_a_label_is_shown_from_the_start(self, metrics: Metrics) -> None:
        metrics.sample()
        names = {name for name, _ in read(metrics.render())}
        assert {metric.name for metric in CATALOGUE.values() if metric.label is None} <= names

    def test_names_follow_the_conventions(self) -> None:
        for name, metric in CATALOGUE.items():
            assert name == metric.name
            assert name.endswith("_total") is (metric.kind is Kind.COUNTER)
            assert metric.help

    def test_what_is_not_in_it_cannot_be_used(self, metrics: Metrics) -> None:
        with pytest.raises(KeyError):
            metrics.count("fanfold_invented_total")
        with pytest.raises(KeyError):
            metrics.watch("fanfold_invented", lambda: 1)

    @pytest.mark.parametrize(
        ("name", "value"), [("fanfold_fan_out_calls_total", None), ("fanfold_ledger_queue", "ok")]
    )
    def test_a_metric_is_watched_with_its_label_or_without_any(
        self, metrics: Metrics, name: str, value: str | None
    ) -> None:
        with pytest.raises(ValueError, match="label"):
            metrics.watch(name, lambda: 1, value)


class TestCount:
    def test_by_label(self, metrics: Metrics) -> None:
        metrics.count("fanfold_fan_out_calls_total", "ok", amount=5)
        metrics.count("fanfold_fan_out_calls_total", "timeout")
        found = read(metrics.render())
        assert found["fanfold_fan_out_calls_total", (("code", "ok"),)] == 5
        assert found["fanfold_fan_out_calls_total", (("code", "timeout"),)] == 1

    def test_too_many_values_of_a_label_fall_together(self, metrics: Metrics) -> None:
        for turn in range(MAX_LABEL_VALUES + 50):
            metrics.count("fanfold_fan_out_calls_total", f"code-{turn}")
        found = {key: value for key, value in read(metrics.render()).items() if "calls_total" in key[0]}
        assert len(found) == MAX_LABEL_VALUES + 1
        assert found["fanfold_fan_out_calls_total", (("code", "other"),)] == 50


class TestWatch:
    def test_a_gauge_follows_its_number(self, metrics: Metrics) -> None:
        numbers = iter([3, 1])
        metrics.watch("fanfold_offload_waiting", lambda: next(numbers))
        for expected in (3, 1):
            metrics.sample()
            assert read(metrics.render())["fanfold_offload_waiting", ()] == expected

    def test_a_counter_rises_by_what_its_number_rose(self, metrics: Metrics) -> None:
        numbers = iter([3, 3, 10])
        metrics.watch("fanfold_log_dropped_total", lambda: next(numbers))
        for expected in (3, 3, 10):
            metrics.sample()
            assert read(metrics.render())["fanfold_log_dropped_total", ()] == expected

    def test_each_value_of_a_label_rises_by_its_own_number(self, metrics: Metrics) -> None:
        metrics.watch("fanfold_quota_warnings_total", lambda: 2, "80")
        metrics.watch("fanfold_quota_warnings_total", lambda: 1, "100")
        for _ in range(2):
            metrics.sample()
        found = read(metrics.render())
        assert found["fanfold_quota_warnings_total", (("level", "80"),)] == 2
        assert found["fanfold_quota_warnings_total", (("level", "100"),)] == 1

    def test_a_counter_goes_on_when_its_number_starts_anew(self, metrics: Metrics) -> None:
        metrics.watch("fanfold_log_dropped_total", lambda: 7)
        metrics.sample()
        metrics.watch("fanfold_log_dropped_total", lambda: 2)
        metrics.sample()
        assert read(metrics.render())["fanfold_log_dropped_total", ()] == 9

    def test_a_number_that_cannot_be_read_harms_no_other(self, metrics: Metrics) -> None:
        def broken() -> float:
            raise RuntimeError

        metrics.watch("fanfold_offload_running", broken)
        metrics.watch("fanfold_ledger_flushes_total", broken)
        metrics.watch("fanfold_offload_waiting", lambda: 4)
        metrics.sample()
        found = read(metrics.render())
        assert found["fanfold_offload_waiting", ()] == 4
        assert found["fanfold_ledger_flushes_total", ()] == 0


async def test_a_lone_process_has_nobody_to_publish_to(metrics: Metrics) -> None:
    async with asyncio.timeout(20):
        await metrics.publish()


def test_two_apps_in_one_process_do_not_mix() -> None:
    first, second = Metrics(shared=False), Metrics(shared=False)
    first.count("fanfold_fan_out_calls_total", "ok")
    assert ("fanfold_fan_out_calls_total", (("code", "ok"),)) not in read(second.render())


def test_a_shared_gauge_is_not_summed_over_workers(metrics: Metrics) -> None:
    modes = {name: gauge._multiprocess_mode for name, gauge in metrics._instruments._gauges.items()}
    assert modes["fanfold_usage_default_partition_rows"] == "livemax"
    assert modes["fanfold_ledger_queue"] == "livesum"
