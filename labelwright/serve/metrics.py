"""What a server counts, for Prometheus: requests, seconds, rows, and who waits. No text, and no label of a client's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from labelwright.serve.service import Record, Service

# When each number began to be counted would be as many numbers again.
disable_created_metrics()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# From a small classifier's millisecond to a language model under load.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The numbers of one application, in a registry of its own.

    ``labelwright_requests_total`` by wire, model and status, ``labelwright_request_seconds`` and
    ``labelwright_rows_total`` by wire and model, ``labelwright_waiting_rows`` by model.
    """

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "labelwright_requests", "Requests that are over", ("wire", "model", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "labelwright_request_seconds",
            "From a request's headers to the end of its answer",
            ("wire", "model"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter("labelwright_rows", "Texts asked about", ("wire", "model"), registry=self._registry)
        self._registry.register(_Waiting(service))

    def count(self, record: Record, seconds: float) -> None:
        """Take in a request that is over."""
        self._requests.labels(record.wire, record.model, str(record.status)).inc()
        self._seconds.labels(record.wire, record.model).observe(seconds)
        if record.n_rows:
            self._rows.labels(record.wire, record.model).inc(record.n_rows)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _Waiting(Collector):
    """Rows that wait, asked for when they are read: which models there are changes while the server runs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily("labelwright_waiting_rows", "Rows that wait for a model", labels=("model",))
        for id, served in self._service.served.items():
            gauge.add_metric((id,), served.engine.n_waiting)
        yield gauge
