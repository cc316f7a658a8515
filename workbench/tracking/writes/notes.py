"""Descriptions of runs and of the experiment, and the columns with which the experiment opens.

What MLflow calls a note is a tag whose Markdown its pages show. The columns are a saved view, which MLflow keeps in a
tag of the experiment and opens by a key in the address.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE as NOTE

from workbench.tracking import pages
from workbench.tracking.entries import PARENT
from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import RECIPE_RUN, OpenedStore
from workbench.tracking.writes.prompts import prompt_name

# Characters that the store takes as a tag of a run, and of an experiment.
_LONGEST_RUN_NOTE, _LONGEST_EXPERIMENT_NOTE = 8000, 5000
_KIND, _VIEW = "mlflow.experimentKind", f"mlflow.sharedViewState.{pages.VIEW}"
# What the experiment's table shows of a run.
_COLUMNS = (
    "metrics.`dev.accuracy`",
    "metrics.`test.accuracy`",
    "tags.`test interval`",
    "metrics.`test.log_loss`",
    "metrics.`seconds`",
    "tags.`what it is`",
)

# Pixels, of texts that would be cut.
_WIDTHS = {"tags.`test interval`": 150, "tags.`what it is`": 330}


def note(store: OpenedStore, entry: Entry) -> None:
    """A run's description, with links to what belongs to it."""
    if run_id := store.run_id(entry["run"]):
        links = _links(store, entry) if entry["run"] == PARENT else _prompt_link(store, entry["run"])
        store.client.set_tag(run_id, NOTE, _within(entry["text"], links, _LONGEST_RUN_NOTE))


def overview(store: OpenedStore, entry: Entry) -> None:
    """The experiment's description and its view of the newest run; what is said of an earlier run gives way."""
    experiment, state = store.state["experiment_id"], store.state
    tags = store.client.get_experiment(experiment).tags
    if _KIND not in tags:  # what somebody chose stays
        store.client.set_experiment_tag(experiment, _KIND, "custom_model_development")
    store.client.set_experiment_tag(experiment, _VIEW, _view(store.folder.path.name, entry.get("by", "accuracy")))
    if entry["text"] or NOTE not in tags:
        newest = f"[run {store.folder.path.name}]({pages.run(experiment, state['run_id'])})"
        text = entry["text"] or f"{newest} is the first; it has compared nothing yet."
        text = _within(text, _links(store, entry), _LONGEST_EXPERIMENT_NOTE)
        store.client.set_experiment_tag(experiment, NOTE, text)


def _links(store: OpenedStore, entry: Entry) -> str:
    """Where the rest is: the runs, the report, the best candidate, the prompt, the models."""
    experiment, run_id, state = store.state["experiment_id"], store.state["run_id"], store.state
    links = {"all runs, best first": pages.newest_run(experiment), "the run": pages.run(experiment, run_id)}
    if entry.get("text"):
        links["report"] = pages.artifact(experiment, run_id, "report.html")
        links["candidates as models"] = pages.models(experiment)
    if best := store.run_id(entry.get("best", "")):
        links["best candidate"] = pages.run(experiment, best)
    if seed := state.get("seed"):
        links["prompt: compare the first version with the newest"] = pages.prompt(
            experiment, prompt_name(store.recipe), seed
        )
    if state.get("registered"):
        links["registered bundle"] = pages.registered_model(store.recipe.name)
    return " · ".join(f"[{name}]({address})" for name, address in links.items())


def _prompt_link(store: OpenedStore, key: str) -> str:
    """To the diff of a run's prompt and the first one, where it has one of its own."""
    seed, version = store.state.get("seed"), store.state.get("prompts_of", {}).get(key)
    if not seed or version in (None, seed):
        return ""
    address = pages.prompt(store.state["experiment_id"], prompt_name(store.recipe), seed)
    return f"[Prompt, version {version}: compare it with version {seed}]({address})"


def _within(text: str, links: str, longest: int) -> str:
    """Text and links, whole lines of the text left out where they are too long."""
    lines = text.splitlines()
    room = longest - len(links) - 10
    while lines and sum(len(line) + 1 for line in lines) > room:
        lines.pop()
    kept = "\n".join(lines)
    return "\n\n".join(part for part in (kept if len(kept) == len(text.rstrip()) else f"{kept}\n…", links) if part)


def _view(run: str, by: str) -> str:
    """MLflow's saved view, as its page writes it: a table of one recipe run, not folded because it is sorted.

    Sorted by what the comparison ranks by: "accuracy", or "cost", of which the least is the best.
    """
    with_cost = ("metrics.`test.cost`",) if by == "cost" else ()
    columns = (*_COLUMNS[:1], *with_cost, *_COLUMNS[1:])
    state: Mapping[str, Any] = {
        "searchFilter": f"tags.{RECIPE_RUN} = '{run}'",
        "orderByKey": f"metrics.`test.{by}`",
        "orderByAsc": by == "cost",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": _WIDTHS,
        "viewMaximized": True,
    }
    now = int(time.time() * 1000)
    return json.dumps(
        {"name": "Newest run, best first", "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )
