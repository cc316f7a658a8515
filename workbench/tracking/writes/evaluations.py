"""Answers to test rows: the rows as an evaluation dataset, a candidate's answers as the traces of an evaluation run.

MLflow's own ``evaluate`` would ask a model and score its answers one by one; here both were done by the comparison. So
the traces are made as its exporter makes them, whole, with their assessments: one call a row, and one for all spans.
MLflow takes assessments in no other way by fewer calls (docs/decisions.md). Which run a trace belongs to is in its
metadata, which MLflow searches, so no call links them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow.genai.datasets
from mlflow.entities import (
    AssessmentSource,
    DatasetInput,
    Expectation,
    Feedback,
    LoggedModelInput,
    Span,
    TraceInfo,
    TraceLocation,
)
from mlflow.entities.assessment import Assessment
from mlflow.entities.trace_state import TraceState
from mlflow.tracing.client import TracingClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from workbench.tracking.journal import Entry
from workbench.tracking.rows import EVALUATION, evaluation_name, preview, trace_id
from workbench.tracking.store import sqlite_path
from workbench.tracking.writes.opened_store import OpenedStore

_AT_ONCE = 4
_NS_PER_MS = 1_000_000


def evaluation_dataset(store: OpenedStore, entry: Entry) -> None:
    """Rows of the dataset; those that it has already are not added again."""
    records = [
        {"inputs": {"text": text, "row": id}, "expectations": {"label": label}, "tags": {"row": id}}
        for id, text, label in entry["rows"]
    ]
    _dataset(store, entry["name"]).merge_records(records)


def evaluated(store: OpenedStore, entry: Entry) -> None:
    """What a run was evaluated on, and which of the candidates' models."""
    if run_id := store.run_id(entry["run"]):
        dataset = _dataset(store, entry["dataset"])
        model = store.state.get("models", {}).get(entry.get("of"))
        models = [LoggedModelInput(model)] if model else []
        store.client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity())], models)


def answers(store: OpenedStore, entry: Entry) -> None:
    """A candidate's answers to rows, the most telling row first."""
    run_id = store.run_id(entry["run"])
    if run_id is None:
        return
    source, of_run = AssessmentSource("CODE", "comparison"), {"mlflow.assessment.sourceRunId": run_id}
    made = []
    # The newest trace is shown first, so the first row is the newest; all of a run are of its own time.
    begun = store.begun_ms(run_id)
    for number, (id, text, gold, label, confidence) in enumerate(entry["rows"], start=entry["first"]):
        made.append(
            Trace(
                trace_id(run_id, id),
                name=entry["candidate"],
                at_ms=begun - number,
                inputs={"text": text, "row": id},
                outputs={"label": label, "confidence": round(confidence, 4)},
                tags={"row": id},
                assessments=[
                    Expectation("gold", gold, source, metadata=of_run),
                    Feedback("correct", label == gold, source=source, metadata=of_run),
                    Feedback("label", label, source=source, metadata=of_run),
                    Feedback("confidence", round(confidence, 4), source=source, metadata=of_run),
                ],
            )
        )
    write_traces(store, run_id, made)


def newest_evaluation(store: OpenedStore, entry: Entry) -> None:
    """Say by name which evaluation runs are an earlier comparison's; they stay, with what people said of them."""
    earlier: list[str] = store.state.setdefault("earlier_evaluations", [])
    for key, run_id in store.state.get("runs", {}).items():
        kind, _, rest = key.partition(" ")
        candidate, _, digest = rest.rpartition(" ")
        is_newest = digest == entry["digest"]
        if kind == EVALUATION and is_newest == (key in earlier):
            store.client.update_run(run_id, name=evaluation_name(candidate, is_newest))
            (earlier.remove if is_newest else earlier.append)(key)
            store.save()


class Trace:
    """A row as MLflow's trace.

    Parameters
    ----------
    at_ms : int
        When, in milliseconds since 1970.
    inputs, outputs : dict
        What JSON holds.
    """

    def __init__(
        self, id: str, *, name: str, at_ms: int, inputs: dict[str, Any], outputs: dict[str, Any], tags: dict[str, str],
        assessments: Sequence[Assessment] = (),
    ) -> None:  # fmt: skip
        self.id = id
        self._name = name
        self._at_ms = at_ms
        self._inputs = inputs
        self._outputs = outputs
        self._tags = tags
        self._assessments = list(assessments)
        for number, one in enumerate(self._assessments):
            # An id of its own, so that a trace that is written again has each once.
            one.assessment_id = f"a-{id.removeprefix('tr-')[:30]}{number:02d}"
            one.trace_id = id

    def info(self, experiment_id: str, run_id: str) -> TraceInfo:
        """The trace without its span."""
        return TraceInfo(
            trace_id=self.id,
            trace_location=TraceLocation.from_experiment_id(experiment_id),
            request_time=self._at_ms,
            execution_duration=0,
            state=TraceState.OK,
            request_preview=preview(self._inputs),
            response_preview=preview(self._outputs),
            trace_metadata={"mlflow.sourceRun": run_id, "mlflow.trace_schema.version": "3"},
            tags={"mlflow.traceName": self._name[:250], **{key: value[:4000] for key, value in self._tags.items()}},
            assessments=self._assessments,
        )

    def span(self) -> Span:
        """Its one span, which holds input and output whole."""
        number = self.id.removeprefix("tr-")
        context = SpanContext(int(number, 16), int(number[:16], 16), is_remote=False, trace_flags=TraceFlags(1))
        attributes = {
            "mlflow.traceRequestId": self.id,
            "mlflow.spanType": "CHAIN",
            "mlflow.spanInputs": self._inputs,
            "mlflow.spanOutputs": self._outputs,
        }
        return Span(
            ReadableSpan(
                name=self._name,
                context=context,
                attributes={key: json.dumps(one, ensure_ascii=False) for key, one in attributes.items()},
                start_time=self._at_ms * _NS_PER_MS,
                end_time=self._at_ms * _NS_PER_MS,
                status=Status(StatusCode.OK),
            )
        )


def write_traces(store: OpenedStore, run_id: str, traces: Sequence[Trace]) -> None:
    """Write traces of a run; those that are there already stay as they are, with what people have said of them."""
    experiment_id = store.state["experiment_id"]
    client = TracingClient(store.uri)
    # A file is written by one at a time; a server, which may be far away, is asked for several rows at once.
    with ThreadPoolExecutor(1 if sqlite_path(store.uri) else _AT_ONCE) as pool:
        list(pool.map(lambda trace: client.start_trace(trace.info(experiment_id, run_id)), traces))
    client.log_spans(experiment_id, [trace.span() for trace in traces])


def _dataset(store: OpenedStore, name: str) -> Any:
    """The evaluation dataset of that name, made where it is not there yet."""
    experiment_id = store.state["experiment_id"]
    known = mlflow.genai.datasets.search_datasets([experiment_id], filter_string=f"name = '{name}'", max_results=1)
    return known[0] if known else mlflow.genai.datasets.create_dataset(name, experiment_id=[experiment_id])
