"""The recipe's prompt in the registry: a version for every text, linked to the runs that made or use it.

The state of the run knows texts by their digests: ``prompts`` has the version of each, ``prompts_of`` the newest one of
each run, ``seed`` the first version of the recipe run.
"""

from __future__ import annotations

import mlflow.genai
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY

from workbench.recipe.recipe import Recipe
from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import OpenedStore


def prompt(store: OpenedStore, entry: Entry) -> None:
    """A version, unless a text like it is one already; its link to the run, and its alias."""
    if run_id := store.run_id(entry["run"]):
        version = version_of(store, entry["tags"]["digest"])
        if version is None:
            made = mlflow.genai.register_prompt(
                name=prompt_name(store.recipe),
                template=entry["text"],
                commit_message=entry["message"],
                tags={**entry["tags"], "run_id": run_id},
            )
            version = int(made.version)
        # The whole run uses what its parts make.
        for linked in (run_id, store.state["run_id"]):
            store.client.link_prompt_version_to_run(linked, f"prompts:/{prompt_name(store.recipe)}/{version}")
        state = store.state
        state.setdefault("prompts", {})[entry["tags"]["digest"]] = version
        state.setdefault("prompts_of", {})[entry["run"]] = version
        if alias := entry.get("alias"):
            store.client.set_prompt_alias(prompt_name(store.recipe), alias, version)
            state[alias] = version
        store.save()


def version_of(store: OpenedStore, digest: str) -> int | None:
    """The version with a text of this digest; None where there is none."""
    if (known := store.state.get("prompts", {}).get(digest)) is not None:
        return int(known)
    name = prompt_name(store.recipe)
    found = store.client.search_model_versions(f"name = '{name}' AND tags.`{IS_PROMPT_TAG_KEY}` = 'true'")
    return max((int(one.version) for one in found if one.tags.get("digest") == digest), default=None)


def prompt_name(recipe: Recipe) -> str:
    """The recipe's prompt in the registry. Models and prompts share one name space there."""
    return f"{recipe.name}-prompt"
