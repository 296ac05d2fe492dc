"""How often which route was asked, with which answer, and how long that took."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import INF, floatToGoString

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
_REQUESTS = ("http_requests_total", "HTTP requests")
_DURATIONS = ("http_request_duration_seconds", "Seconds from a request to the end of its answer")
_OF_REQUESTS, _OF_DURATIONS = ("method", "route", "status"), ("route",)
_SHOWN_BOUNDS = tuple(map(floatToGoString, (*BOUNDS_S, INF)))


class RequestCounts(Protocol):
    """Counts of requests."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request, whose method and route are from short lists."""
        ...


class OwnRequestCounts(Collector):
    """Those of a process that serves alone, in plain numbers: a request costs two sums and no lock.

    Counted on the event loop, read by the thread that renders.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations: dict[str, _Durations] = {}
        registry.register(self)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        durations = self._durations.get(route)
        if durations is None:
            durations = self._durations[route] = _Durations()
        durations.counts[bisect_left(BOUNDS_S, seconds)] += 1
        durations.sum_s += seconds

    def collect(self) -> Iterable[Family]:
        """Return both metrics as they are now."""
        requests = CounterMetricFamily(*_REQUESTS, labels=_OF_REQUESTS)
        durations = HistogramMetricFamily(*_DURATIONS, labels=_OF_DURATIONS)
        for (method, route, status), count in self._requests.copy().items():
            requests.add_metric((method, route, str(status)), count)
        for route, kept in self._durations.copy().items():
            buckets = list(zip(_SHOWN_BOUNDS, accumulate(kept.counts), strict=True))
            durations.add_metric((route,), buckets, kept.sum_s)
        return requests, durations


class _Durations:
    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * len(_SHOWN_BOUNDS)
        self.sum_s = 0.0


class SharedRequestCounts:
    """Those of one of several workers, in files that the others read: prometheus_client's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(*_REQUESTS, _OF_REQUESTS, registry=registry)
        self._durations = Histogram(*_DURATIONS, _OF_DURATIONS, registry=registry, buckets=BOUNDS_S)
        self._children: dict[tuple[str, str, int], Counter] = {}
        self._routes: dict[str, Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(method, route, str(status))
        child.inc()
        duration = self._routes.get(route)
        if duration is None:
            duration = self._routes[route] = self._durations.labels(route)
        duration.observe(seconds)
