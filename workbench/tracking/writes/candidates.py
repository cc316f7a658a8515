"""Candidates as logged models, so that the page of models is the leaderboard.

A candidate leaves no files here (the one that ships is logged with them, by ``models``): what is logged is its name,
its settings and its numbers, those on test with the dataset that they were measured on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException

from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import RECIPE_RUN, OpenedStore
from workbench.tracking.writes.prompts import prompt_name


def candidate(store: OpenedStore, entry: Entry) -> None:
    """A candidate's model, made once, with its newest numbers, which its run has as well."""
    run_id = store.run_id(entry["run"])
    if run_id is None:
        return
    model_id = _model_id(store, entry, run_id)
    log_numbers(store, run_id, model_id, entry["numbers"])
    if (version := store.state.get("prompts_of", {}).get(entry["run"])) is not None:
        store.client.link_prompt_version_to_model(prompt_name(store.recipe), str(version), model_id)


def log_numbers(store: OpenedStore, run_id: str, model_id: str, numbers: Mapping[str, Any]) -> None:
    """Numbers of a model, as ``entries.numbers_of`` has them, which the run gets as well."""
    name, digest = (one or None for one in numbers["dataset"])
    metrics = [Metric(key, one, at, step, model_id, name, digest) for key, one, at, step in numbers["test"]]
    metrics += [Metric(key, one, at, step, model_id) for key, one, at, step in numbers["costs"]]
    store.client.log_batch(run_id, metrics=metrics)


def _model_id(store: OpenedStore, entry: Entry, run_id: str) -> str:
    known: dict[str, str] = store.state.setdefault("models", {})
    key = entry["run"]
    if key not in known or not _exists(store, known[key]):
        tags = {"candidate": entry["name"], RECIPE_RUN: store.folder.path.name}
        model = store.client.create_logged_model(
            store.state["experiment_id"], model_name(entry["name"]), run_id, tags, entry["params"], "candidate"
        )
        known[key] = model.model_id
        store.save()
        store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return known[key]


def model_name(candidate: str) -> str:
    """A candidate's name without what the store refuses in a model's.

    >>> model_name("sft@code"), model_name("a.b/c")
    ('sft@code', 'a-b-c')
    """
    return re.sub(r"[/:.%\"']", "-", candidate)


def _exists(store: OpenedStore, model_id: str) -> bool:
    try:
        store.client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True
