"""What a server counts, for Prometheus: requests, seconds, rows, who waits, and what was answered.

No text, and no label but a bundle's own, ``_MOST_LABELS`` of them at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from labelwright.bundle.reference import EDGES

if TYPE_CHECKING:
    from labelwright.serve.service import Record, Service

# When each number began to be counted would be as many numbers again.
disable_created_metrics()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Labels that are counted apart, the first ones of a task; the others are one, without a name, as no label is.
_MOST_LABELS = 100
_OTHERS = ""
# From a small classifier's millisecond to a language model under load.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The numbers of one application, in a registry of its own.

    ``labelwright_requests_total`` by wire, model and status, ``labelwright_request_seconds`` and
    ``labelwright_rows_total`` by wire and model, ``labelwright_waiting_rows`` by model. Of answers to a bundle's own
    question, by model: ``labelwright_answers_total`` by label, ``labelwright_unanswered_total``,
    ``labelwright_abstained_total``, the histogram ``labelwright_confidence``; and of its windows of rows
    ``labelwright_windows_total``, ``labelwright_drift_p`` (the last one's, as ``labelwright.watch.drift`` has it) and
    ``labelwright_drift_alarms_total``.
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
        self._registry.register(_Answered(service))

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


class _Answered(Collector):
    """What each bundle's tally has, asked for when it is read: no answer waits for Prometheus."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        by_model = ("model",)
        answers = CounterMetricFamily("labelwright_answers", "Rows by their label", labels=("model", "label"))
        unanswered = CounterMetricFamily("labelwright_unanswered", "Rows without an answer", labels=by_model)
        abstained = CounterMetricFamily("labelwright_abstained", "Rows whose answer was not told", labels=by_model)
        confidence = HistogramMetricFamily("labelwright_confidence", "Probability of the answer", labels=by_model)
        windows = CounterMetricFamily("labelwright_windows", "Windows of answers that were tested", labels=by_model)
        p = GaugeMetricFamily("labelwright_drift_p", "Smallest number of the last window's questions", labels=by_model)
        alarms = CounterMetricFamily("labelwright_drift_alarms", "Windows unlike dev and those before", labels=by_model)
        for id, served in self._service.served.items():
            tally = served.tally
            tally.settle()
            for name, n in zip(tally.names[:_MOST_LABELS], tally.labels.tolist(), strict=False):
                answers.add_metric((id, name), n)
            if len(tally.names) > _MOST_LABELS:
                answers.add_metric((id, _OTHERS), int(tally.labels[_MOST_LABELS:-1].sum()))
            unanswered.add_metric((id,), int(tally.labels[-1]))
            abstained.add_metric((id,), tally.n_abstained)
            edges = (*(f"{edge:g}" for edge in EDGES["confidence"]), "+Inf")
            buckets = list(zip(edges, tally.confidence.cumsum().tolist(), strict=True))
            confidence.add_metric((id,), buckets, tally.confidence_sum)
            if tally.is_watched:
                windows.add_metric((id,), tally.n_windows)
                alarms.add_metric((id,), tally.n_alarms)
                if tally.p is not None:
                    p.add_metric((id,), tally.p)
        yield from (answers, unanswered, abstained, confidence, windows, p, alarms)
