"""The recipe's prompt in the registry."""

from __future__ import annotations

import mlflow.genai

from workbench.recipe.recipe import Recipe
from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import OpenedStore


def prompt(store: OpenedStore, entry: Entry) -> None:
    """A version."""
    if run_id := store.run_id(entry["run"]):
        mlflow.genai.register_prompt(
            name=prompt_name(store.recipe),
            template=entry["text"],
            commit_message=entry["message"],
            tags={**entry["tags"], "run_id": run_id},
        )


def prompt_name(recipe: Recipe) -> str:
    """The recipe's prompt in the registry. Models and prompts share one name space there."""
    return f"{recipe.name}-prompt"
