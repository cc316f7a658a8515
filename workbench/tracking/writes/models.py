"""Logs a bundle as an MLflow model: code instead of a pickle, pins instead of guesses, a signature with an example."""

from __future__ import annotations

import importlib.metadata
import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, DataType, Map, Schema, TensorSpec

import labelwright
from labelwright.bundle.store import load
from labelwright.models.weights import Predictor, Weights
from labelwright.predictors.store import KINDS, kind_and_labels
from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import OpenedStore

_SERVING_PACKAGES = ("mlflow", "numpy", "pandas", "safetensors", "scikit-learn", "tokenizers")
# What each extra of labelwright brings besides.
_OF_EXTRA = {
    "": (),
    "sklearn": ("skops",),
    "embeddings": ("sentence-transformers", "skops", "torch", "transformers"),
    "transformers": ("torch", "transformers", "peft", "gguf", "accelerate"),
    "gliclass": ("gliclass", "torch", "transformers"),
}


def model(store: OpenedStore, entry: Entry) -> str | None:
    """The exported bundle; returns its address in the registry, None where the bundle is gone."""
    bundle, run_id = Path(entry["path"]), store.state["run_id"]
    if not bundle.is_dir():
        return None
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        version = log_bundle(store.recipe.name, bundle, entry["texts"])
    # Leaving the run has ended it, and it goes on.
    store.client.update_run(run_id, status="RUNNING")
    uri = f"models:/{store.recipe.name}/{version}"
    exported = store.folder.state.get("export")
    if exported and not exported.get("model_uri"):
        exported["model_uri"] = uri
        store.save()
    return uri


def log_bundle(name: str, bundle: Path, example_texts: Sequence[str]) -> int:
    """Log the bundle with the active run and register it under ``name``; returns the new version's number."""
    package = Path(next(iter(labelwright.__path__))).resolve()
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "confidence"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    signature = ModelSignature(inputs=Schema([ColSpec(DataType.string, "text")]), outputs=Schema(outputs))
    # MLflow tells of the new version on stderr; the display tells it in its own words.
    with redirect_stderr(io.StringIO()):
        info = mlflow.pyfunc.log_model(
            name="bundle",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(package)],
            pip_requirements=serving_requirements(load(bundle).weights),
            signature=signature,
            input_example=pd.DataFrame({"text": list(example_texts)}),
            registered_model_name=name,
        )
    return int(info.registered_model_version)


def serving_requirements(weights: Weights) -> list[str]:
    """What a served bundle needs, pinned to what is installed here, build suffixes such as ``+cpu`` left off."""
    extra = "transformers"
    if isinstance(weights, Predictor):
        extra = KINDS[kind_and_labels(weights.folder)[0]].extra
    pins = []
    for name in (*_SERVING_PACKAGES, *_OF_EXTRA[extra]):
        try:
            pins.append(f"{name}=={importlib.metadata.version(name).partition('+')[0]}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return pins
