"""Counts and gauges, right over all workers of one server."""

import asyncio
import math
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from fanfold.core.telemetry.catalogue import CATALOGUE, Kind, Metric
from fanfold.core.telemetry.logging import get_logger
from fanfold.core.telemetry.request_counts import OwnRequestCounts, RequestCounts, SharedRequestCounts
from fanfold.core.telemetry.workers import WorkerGroup, is_worker

MAX_LABEL_VALUES = 100

_log = get_logger("fanfold.metrics")


class _Methods(dict[str, str]):
    """Each method by itself, and `OTHER` by what else there is: HTTP lets a client invent one."""

    def __missing__(self, _invented: str) -> str:
        return "OTHER"


KNOWN_METHODS = _Methods(
    {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")}
)


class Metrics:
    """The metrics of this process, and the sum over its fellow workers.

    Nothing is opened before the first use, so that an app made before a fork counts in the process that serves it.
    """

    def __init__(self, *, shared: bool | None = None) -> None:
        self._shared = is_worker() if shared is None else shared
        self._watched: dict[tuple[str, str | None], Callable[[], float]] = {}
        self._seen: dict[tuple[str, str | None], float] = {}
        self._process = ProcessCollector(registry=None)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request; `route` is a template of the app's, never a client's path."""
        self._instruments.requests.observe(KNOWN_METHODS[method], route, status, seconds)

    def count(self, name: str, value: str | None = None, *, amount: float = 1) -> None:
        """Raise a counter of the catalogue; `value` is that of its label, if it has one."""
        self._instruments.counter(name, value).inc(amount)

    def watch(self, name: str, read: Callable[[], float], value: str | None = None) -> None:
        """Let a gauge or counter of the catalogue follow `read`, which only looks at a number kept elsewhere.

        `value` is that of its label, if it has one.
        """
        if (CATALOGUE[name].label is None) is not (value is None):
            raise ValueError(f"{name} is watched with a value of its label, or has none")
        self._watched[name, value] = read
        self._seen[name, value] = 0.0

    def sample(self) -> None:
        """Take over the watched numbers. Call it on the event loop: they are kept there."""
        for (name, value), read in self._watched.items():
            self._set(name, _read(name, read), value)
        for metric in self._process.collect():
            for sample in metric.samples:
                if sample.name in CATALOGUE:
                    self._set(sample.name, sample.value)
        self._set("fanfold_processes", 1)

    def render(self) -> bytes:
        """Return the sum over all workers in Prometheus' text format."""
        group = self._instruments.group
        if group is None:
            return generate_latest(self._instruments.registry)
        with group.reading():
            return generate_latest(_Files(group.path))

    async def publish(self, interval_s: float = 1.0) -> None:
        """Show the watched numbers to the other workers, for ever; returns at once where there are none."""
        while self._instruments.group is not None:
            self.sample()
            await asyncio.sleep(interval_s)

    def close(self) -> None:
        """Leave the group of workers."""
        if "_instruments" in vars(self) and self._instruments.group is not None:
            self._instruments.group.leave()
            del self._instruments

    def _set(self, name: str, number: float, value: str | None = None) -> None:
        if CATALOGUE[name].kind is not Kind.COUNTER:
            self._instruments.gauge(name).set(number)
        elif (rise := number - self._seen.get((name, value), 0.0)) > 0:  # false for NaN too
            self._instruments.counter(name, value).inc(rise)
            self._seen[name, value] = number

    @cached_property
    def _instruments(self) -> "_Instruments":
        group = WorkerGroup.join() if self._shared else None
        if group is not None:
            _keep_values_in(group)
        return _Instruments(group)


class _Instruments:
    """prometheus_client's objects, which take the process's id and the place of their values when they are made."""

    def __init__(self, group: WorkerGroup | None) -> None:
        disable_created_metrics()
        self.group = group
        self.registry = registry = CollectorRegistry()
        self.requests: RequestCounts = (
            OwnRequestCounts(registry) if group is None else SharedRequestCounts(registry)
        )
        self._gauges = {m.name: _gauge(m, registry) for m in CATALOGUE.values() if m.kind is not Kind.COUNTER}
        self._counters = {m.name: _counter(m, registry) for m in CATALOGUE.values() if m.kind is Kind.COUNTER}
        self._labelled: dict[str, dict[str, Counter]] = {}

    def gauge(self, name: str) -> Gauge:
        return self._gauges[name]

    def counter(self, name: str, value: str | None) -> Counter:
        if value is None:
            return self._counters[name]
        # What `labels` returns is looked up by it each time, under a lock.
        known = self._labelled.setdefault(name, {})
        counter = known.get(value)
        if counter is None:
            counter = self._counters[name].labels(value if len(known) < MAX_LABEL_VALUES else "other")
            if len(known) < MAX_LABEL_VALUES:
                known[value] = counter
        return counter


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    mode: Literal["livemax", "livesum"] = "livemax" if metric.kind is Kind.SHARED_GAUGE else "livesum"
    return Gauge(metric.name, metric.help, registry=registry, multiprocess_mode=mode)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, (metric.label,) if metric.label else (), registry=registry)


def _keep_values_in(group: WorkerGroup) -> None:
    """Make prometheus_client keep its values in the group's directory; only this environment variable tells it."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(group.path)  # noqa: TID251 (written for it, never read here)
    values.ValueClass = values.MultiProcessValue()


def _read(name: str, read: Callable[[], float]) -> float:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - a number nobody can read must not stop the server that it is about
        _log.error("A metric could not be read.", kind=name, exc_info=error)
        return math.nan


class _Files(Collector):
    """The sums over workers' files, but for one that is just being made: it is empty until its first count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Family]:
        """Return the sums."""
        begun = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
        families: Iterable[Family] = MultiProcessCollector.merge(begun, accumulate=True)
        return families
