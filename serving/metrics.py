"""What Prometheus reads at /metrics: how requests went, and what is served. Routes by their template, never by path."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from typing import get_args

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from serving import bundles
from serving.current import Current
from serving.jobs import Jobs, Status
from serving.nulls import Nulls
from serving.privacy import Requests

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
PROBABILITIES = tuple(i / 20 for i in range(1, 21))

Floats = npt.NDArray[np.float64]
Metric = GaugeMetricFamily | HistogramMetricFamily


class Metrics:
    """Of one service. Several workers count into files of a folder that they share (prometheus_client's own way)."""

    def __init__(self, current: Current) -> None:
        """Nothing is counted yet."""
        self.registry = CollectorRegistry()
        own = None if SHARED in os.environ else self.registry
        self._seconds = Histogram(
            "ritorno_request_seconds", "Time to answer.", ["route", "method"], buckets=SECONDS, registry=own
        )
        self._requests = Counter("ritorno_requests", "Requests answered.", ["route", "method", "status"], registry=own)
        if own is None:
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call]  # the library's own gap
        self._of = cache(self._label)  # the library's own look-up takes longer than the counting
        ProcessCollector(registry=self.registry)
        self.registry.register(Served(current))

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        timed, counted = self._of(route, method, status)
        timed.observe(seconds)
        counted.inc()

    def _label(self, route: str, method: str, status: int) -> tuple[Histogram, Counter]:
        return self._seconds.labels(route, method), self._requests.labels(route, method, str(status))

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)


class Served(Collector):
    """What is served right now: models, data, the shop's scores; looked up when asked for."""

    def __init__(self, current: Current) -> None:
        """Nothing is looked up yet."""
        self._current, self._nulls = current, Nulls()

    def describe(self) -> list[Metric]:
        """Nothing: names are known once asked for, and collide with none of ours."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Readiness always; the rest once there is something to answer with."""
        current = self._current
        refused = bundles.refusal(current.settings.bundle) is not None
        yield _gauge("ritorno_ready", "1 when scores are answered.", current.is_ready)
        yield _gauge("ritorno_newest_champions_refused", "1 while the registry's champions are not served.", refused)
        yield _gauge("ritorno_problems", "How many problems /readyz tells.", len(current.problems))
        yield self._jobs()
        waiting = len(Requests(current.settings.store).waiting())
        yield _gauge("ritorno_erasures_waiting", "Customers who are still to be erased.", waiting)
        if current.is_ready:
            yield from self._shop()

    def _jobs(self) -> Metric:
        """Of every worker the same: they lie in one folder."""
        counts = Jobs(self._current.settings.jobs).counts()
        found = GaugeMetricFamily("ritorno_jobs", "Scoring jobs that are not forgotten.", labels=["status"])
        for status in get_args(Status):
            found.add_metric([status], counts[status])
        return found

    def _shop(self) -> Iterator[Metric]:
        scorer = self._current.scorer
        models = GaugeMetricFamily("ritorno_model_info", "Which models answer.", labels=["model", "version", "run_id"])
        for name, model in scorer.models.items():
            models.add_metric([name, model.version, model.run_id], 1)
        yield models
        yield _gauge("ritorno_customers", "Customers in the store.", scorer.log.n_customers)
        stale = max(time.time() - scorer.log.last_ts / 1e6, 0.0)  # it may lie a little ahead of our clock
        yield _gauge("ritorno_data_staleness_seconds", "Since the store's latest event.", stale)
        yield _histogram(scorer.population.churn)
        yield self._nulls.metric(scorer)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _histogram(ascending: Floats) -> HistogramMetricFamily:
    """The whole shop's churn probabilities, as they stand; not those that were asked for."""
    below = np.searchsorted(ascending, PROBABILITIES, side="right")
    buckets = [(str(edge), float(count)) for edge, count in zip(PROBABILITIES, below.tolist(), strict=True)]
    return HistogramMetricFamily(
        "ritorno_churn_probability", "Of every customer with a kept order.",
        buckets=[*buckets, ("+Inf", float(len(ascending)))], sum_value=float(ascending.sum()),
    )  # fmt: skip
