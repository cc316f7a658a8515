"""Rows that a person is asked about, as a review queue of MLflow's: two questions a row, answered in its UI."""

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.genai import label_schemas, review_queues
from mlflow.genai.label_schemas import InputCategorical, InputText, LabelSchema

from workbench.tracking.journal import Entry
from workbench.tracking.rows import DECISION, DECISIONS, other_label, review_trace
from workbench.tracking.writes.evaluations import Trace, write_traces
from workbench.tracking.writes.opened_store import OpenedStore

# MLflow's limit for the words beside a question.
_LONGEST = 1000


def review(store: OpenedStore, entry: Entry) -> None:
    """Rows of a queue; the queue and its questions are made with the first of them."""
    run_id, rows = store.state["run_id"], entry["rows"]
    begun = store.begun_ms(run_id)
    traces = [
        Trace(
            review_trace(run_id, row),
            name="review",
            at_ms=begun,
            inputs={"text": row["text"], "row": row["id"], "side": row["side"]},
            outputs={
                "given label": row["label"],
                "suggested label": row["suggested"],
                "confidence": round(row["confidence"], 4),
                "why": row["why"],
            },
            tags={"row": row["id"], "side": row["side"]},
        )
        for row in rows
    ]
    write_traces(store, run_id, traces)
    queue = _queue(store, entry["queue"], entry["labels"])
    review_queues.add_items_to_review_queue(queue.queue_id, item_ids=[trace.id for trace in traces])


def _queue(store: OpenedStore, name: str, labels: list[str]) -> Any:
    experiment_id = store.state["experiment_id"]
    try:
        return review_queues.get_review_queue(name=name, experiment_id=experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    # Shown in the order opposite to that in which they are made.
    other = _schema(experiment_id, other_label(store.recipe.name), InputText(), _one_of(labels))
    decision = _schema(experiment_id, DECISION, InputCategorical(list(DECISIONS)), "What is right?", comment=True)
    return review_queues.create_review_queue(
        name, queue_type="custom", schema_ids=[other.schema_id, decision.schema_id], experiment_id=experiment_id
    )


def _schema(experiment_id: str, name: str, kind: Any, said: str, comment: bool = False) -> LabelSchema:
    """The question of that name in the experiment, as it is or new."""
    try:
        return label_schemas.get_label_schema(name, experiment_id=experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return label_schemas.create_label_schema(
        name, type="expectation", input=kind, instruction=said, enable_comment=comment, experiment_id=experiment_id
    )


def _one_of(labels: list[str]) -> str:
    """Which labels there are, as far as there is room."""
    said = "One of: " + ", ".join(labels)
    return said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…"
