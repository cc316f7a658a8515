"""Logs a bundle as an MLflow model: code instead of a pickle, pins instead of guesses, a signature with an example."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelStatus
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Map, Object, Property, Schema, TensorSpec
from mlflow.utils.logging_utils import disable_logging

import labelwright
from labelwright.bundle.files import bundle_identity
from labelwright.bundle.store import load, members_of
from labelwright.data.asked.asking import asking
from labelwright.data.asked.questions import row_of
from labelwright.data.columns import TEXT
from labelwright.data.task import Task
from labelwright.decisions.answered import table_columns
from labelwright.models.weights import Predictor, Weights
from labelwright.predictors.store import KINDS, kind_and_labels
from workbench.tracking.journal import Entry
from workbench.tracking.succession import CHALLENGER, CHAMPION, Stands, stands
from workbench.tracking.writes.candidates import log_numbers, model_name
from workbench.tracking.writes.opened_store import RECIPE_RUN, OpenedStore
from workbench.tracking.writes.prompts import prompt_name, version_of

_LONGEST = 5000  # of a description, in the store
# The tag that says which bundle a model or a version is: its ``bundle_identity``.
BUNDLE = "bundle"
_SERVING_PACKAGES = ("mlflow", "numpy", "pandas", "safetensors", "scikit-learn", "tokenizers")
# What each extra of labelwright brings besides.
_OF_EXTRA = {
    "": (),
    "sklearn": ("skops",),
    "embeddings": ("sentence-transformers", "skops", "torch", "transformers"),
    "transformers": ("torch", "transformers", "peft", "gguf", "accelerate"),
    "gliclass": ("gliclass", "torch", "transformers"),
    "onnx": ("onnxruntime",),
    "ocr": ("rapidocr", "onnxruntime", "pillow"),
}


def model(store: OpenedStore, entry: Entry) -> str | None:
    """The exported bundle, once; returns its address in the registry, None where the bundle is gone."""
    bundle, name = Path(entry["path"]), store.recipe.name
    identity = bundle_identity(bundle)
    if not bundle.is_dir() or entry.get("identity", identity) != identity:
        return None  # what was replaced since is recorded by who replaced it
    known = store.client.search_model_versions(f"name = '{name}'")
    version = next((int(one.version) for one in known if identity and one.tags.get(BUNDLE) == identity), None)
    if version is None:
        version = _registered(store, entry, bundle, identity)
    _describe(store, entry, bundle, version, identity)
    uri = f"models:/{name}/{version}"
    store.state |= {"registered": uri, "registered_bundle": identity}
    store.save()
    return uri


def _registered(store: OpenedStore, entry: Entry, bundle: Path, identity: str) -> int:
    with mlflow.start_run(run_id=store.state["run_id"], log_system_metrics=False):
        version = log_bundle(store.recipe.name, bundle, entry["texts"], _logged_as(entry), identity)
    # Leaving the run has ended it, and it goes on.
    store.client.update_run(store.state["run_id"], status="RUNNING")
    return version


def _logged_as(entry: Entry) -> str:
    return f"bundle of {model_name(entry['candidate'])}" if entry.get("candidate") else "bundle"


def _describe(store: OpenedStore, entry: Entry, bundle: Path, version: int, identity: str) -> None:
    """The card, what the version was measured to be, its prompt, and whether it is the champion."""
    client, name, number = store.client, store.recipe.name, str(version)
    card = _without_front_matter((bundle / "README.md").read_text(encoding="utf-8"))[:_LONGEST]
    client.update_model_version(name, number, card)
    kept = ("test_rows", "right", "candidate", "prices", "span", "costs")
    measured = {key: entry.get(key) or "" for key in kept}
    for key, value in {**measured, BUNDLE: identity, RECIPE_RUN: store.folder.path.name}.items():
        if value:
            client.set_model_version_tag(name, number, key, value)
    # Of a store in a file they are numbers, of a server texts.
    aliases = {alias: str(one) for alias, one in client.get_registered_model(name).aliases.items()}
    champion = aliases.get(CHAMPION)
    stand: Stands = "better"
    if champion not in (None, number):
        stand = stands(measured, client.get_model_version(name, champion).tags, entry.get("groups"))
    if stand == "better":
        client.set_registered_model_alias(name, CHAMPION, number)
        client.update_registered_model(name, card)
        if aliases.get(CHALLENGER) == number:
            client.delete_registered_model_alias(name, CHALLENGER)
    elif stand == "not told apart":
        client.set_registered_model_alias(name, CHALLENGER, number)
    # The registry knows the logged model behind a version by its address alone.
    kind, _, model_id = (client.get_model_version(name, number).source or "").partition(":/")
    if kind == "models":
        _link(store, entry, model_id, is_champion=stand == "better")


def _link(store: OpenedStore, entry: Entry, model_id: str, is_champion: bool) -> None:
    """The logged model's numbers and its prompt."""
    # A metric belongs to a run as well: to the candidate's, since the whole run has those of what it says to ship.
    candidate = store.run_id(entry.get("of", ""))
    if candidate and entry.get("numbers"):
        log_numbers(store, candidate, model_id, entry["numbers"])
    digest = entry.get("prompt")
    if digest and (prompt := version_of(store, digest)) is not None:
        prompts = prompt_name(store.recipe)
        store.client.link_prompt_version_to_model(prompts, str(prompt), model_id)
        if is_champion:
            store.client.set_prompt_alias(prompts, CHAMPION, prompt)


def _without_front_matter(card: str) -> str:
    _, found, rest = card.removeprefix("---\n").partition("\n---\n")
    return rest.lstrip() if found and card.startswith("---\n") else card


def log_bundle(
    name: str, bundle: Path, example_texts: Sequence[str], logged_as: str = "bundle", identity: str = ""
) -> int:
    """Log the bundle with the active run and register it under ``name``; returns the new version's number.

    A server may have taken what was given up here as too slow: what it has of this ``identity`` is not logged again.
    """
    tags = {BUNDLE: identity} if identity else {}
    uri = _logged_before(identity) or _logged(bundle, example_texts, logged_as, tags)
    disable_logging()  # logging a model gives MLflow its voice back
    return int(mlflow.register_model(uri, name, tags=tags).version)


def _logged_before(identity: str) -> str:
    """The address of the active run's model of a bundle, if the store has it whole; what it has in part is deleted."""
    run, client = mlflow.active_run(), mlflow.MlflowClient()
    if not identity or run is None:
        return ""
    known = client.search_logged_models([run.info.experiment_id], filter_string=f"tags.{BUNDLE} = '{identity}'")
    of_run = [one for one in known if one.source_run_id == run.info.run_id]
    whole = [one.model_uri for one in of_run if one.status == LoggedModelStatus.READY]
    for one in of_run:
        if one.status != LoggedModelStatus.READY:
            client.delete_logged_model(one.model_id)
    return whole[0] if whole else ""


def _logged(bundle: Path, example_texts: Sequence[str], logged_as: str, tags: dict[str, str]) -> str:
    package = Path(next(iter(labelwright.__path__))).resolve()
    opened = load(bundle)
    types = _types(opened.task)
    outputs: list[ColSpec | TensorSpec] = [ColSpec(types[name], name) for name in table_columns(opened)]
    # Rows of which several points are asked stand among the examples once a point.
    texts = list(dict.fromkeys(row_of(text, opened.task.points) for text in example_texts))
    inputs, example = _inputs(opened.task, texts)
    info = mlflow.pyfunc.log_model(
        name=logged_as,
        python_model=str(Path(__file__).with_name("served_model.py")),
        artifacts={"bundle": str(bundle)},
        code_paths=[str(package)],
        pip_requirements=serving_requirements(opened.weights, bool(opened.task.image_column)),
        signature=ModelSignature(inputs=Schema(list(inputs)), outputs=Schema(outputs)),
        input_example=example,
        tags=tags,
    )
    return str(info.model_uri)


def _types(task: Task) -> dict[str, Any]:
    """The types of an answer's columns: of one label, of a list of labels, or of one of these a question."""
    number, text, several = DataType.double, DataType.string, Array(DataType.string)
    if len(task.questions) <= 1:
        of_one = {"abstained": text, "confidence": number, "probabilities": Map(number), "expected": number}
        return {"label": several if task.points else text, **of_one}
    labels = [Property(one.name, several if one.kind == "labels" else text, required=False) for one in task.questions]
    of_each = {"abstained": Map(text), "confidence": Map(number), "probabilities": Map(Map(number))}
    return {"label": Object(labels), "expected": Map(number), **of_each}


def _inputs(task: Task, texts: Sequence[str]) -> tuple[list[ColSpec], pd.DataFrame]:
    """The columns that a table for the bundle has, and a table of these texts.

    Cells of the bundle's own columns may be numbers or dates, as in the files that it was tuned on. Where ``text`` is
    one of several, all of them are needed: MLflow drops columns that it does not know before the model sees them, so
    that a part of a text whose other part is misnamed would look whole.
    """
    names, whole = task.text_columns, pd.DataFrame({TEXT: list(texts)})
    more = [ColSpec(AnyType(), name, required=False) for name in asking(task).columns]
    if task.image_column:  # whose text may come in its place
        more.append(ColSpec(AnyType(), task.image_column, required=False))
        return [*(ColSpec(AnyType(), name, required=False) for name in dict.fromkeys((*names, TEXT))), *more], whole
    if not names or names == (TEXT,):
        return [ColSpec(DataType.string, TEXT), *more], whole
    if TEXT in names:  # a text whose other cells are empty is whole, too
        return [*(ColSpec(AnyType(), name) for name in names), *more], whole.reindex(columns=list(names), fill_value="")
    return [*(ColSpec(AnyType(), name, required=False) for name in (*names, TEXT)), *more], whole


def serving_requirements(weights: Weights, reads_images: bool = False) -> list[str]:
    """What a served bundle needs, pinned to what is installed here, build suffixes such as ``+cpu`` left off."""
    each = [member.weights for member in members_of(weights)] or [weights]
    extras = {
        KINDS[kind_and_labels(one.folder)[0]].extra if isinstance(one, Predictor) else "transformers" for one in each
    }
    extras |= {"ocr"} if reads_images else set()
    pins = []
    for name in dict.fromkeys([*_SERVING_PACKAGES, *(name for extra in sorted(extras) for name in _OF_EXTRA[extra])]):
        try:
            pins.append(f"{name}=={importlib.metadata.version(name).partition('+')[0]}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return pins
