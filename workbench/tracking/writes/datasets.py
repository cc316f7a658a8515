"""The sides of the splits, as inputs of the parent run."""

from __future__ import annotations

import mlflow.data.pandas_dataset
import pandas as pd
from mlflow.entities import DatasetInput, InputTag

from workbench.tracking.entries import dataset_name
from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import OpenedStore


def dataset(store: OpenedStore, entry: Entry) -> None:
    """One side, by its digest."""
    side = mlflow.data.pandas_dataset.from_pandas(
        pd.DataFrame(entry["columns"]), source=entry["source"], targets="label",
        name=dataset_name(store.recipe.name, entry["side"]), digest=entry["digest"],
    )  # fmt: skip
    context = [InputTag("mlflow.data.context", entry["side"])]
    store.client.log_inputs(store.state["run_id"], [DatasetInput(side._to_mlflow_entity(), context)])
