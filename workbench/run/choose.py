"""Which run a verb works on: the one that was named, the newest, or a new one."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from labelwright.errors import RecipeError
from workbench.progress import Display
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import Rows, make_splits, split_remarks
from workbench.recipe.splits import SIDES, splits_document
from workbench.run.folder import RUNS, RunFolder, find_run, runs_of

# Which stages a verb runs; `demo` runs what the recipe lists.
VERB_STAGES = {"optimize": ("gepa",), "train": ("grpo",), "calibrate": ("calibrate",)}


def choose_run(recipe: Recipe, verb: str, run: str, rows: Rows, display: Display) -> RunFolder:
    """The run a verb works on: the one asked for, the newest, or a new one.

    ``demo`` continues the newest run if it is unfinished, ``optimize`` if its first step is; otherwise they begin a new
    one. The other verbs continue the newest.

    Raises
    ------
    RecipeError
        The run asked for does not exist, or a table that a run keeps from its beginning was changed.
    """
    parent = RUNS / recipe.name
    if run:
        folder = find_run(parent, run)
        if folder.is_older:
            raise RecipeError(_older_message(folder))
        changed = changed_tables(recipe, folder)
        if changed:
            raise RecipeError(_changed_message(recipe, folder, changed))
        return folder
    known = runs_of(parent)
    newest = RunFolder(known[-1]) if known else None
    if newest is not None and newest.is_older:
        if verb not in ("demo", "optimize"):
            raise RecipeError(_older_message(newest))
        display.say(f"run {newest.path.name} was made by an earlier edition; a new run begins")
    elif newest is not None:
        unfinished = {
            "demo": not newest.state.get("finished"),
            "optimize": not any(step["stage"] != "untuned" and step["done"] for step in newest.steps)
            and all(step["stage"] in ("untuned", *VERB_STAGES["optimize"]) for step in newest.steps),
        }.get(verb, True)
        changed = changed_tables(recipe, newest)
        if unfinished and not changed:
            if newest.steps:
                display.say(f"continuing run {newest.path}")
            return newest
        if unfinished and verb not in ("demo", "optimize"):
            raise RecipeError(_changed_message(recipe, newest, changed))
        if unfinished:
            display.say(
                f"{recipe.path}: {_tables(changed)} changed since run {newest.path.name} began; a new run begins"
            )
    elif verb not in ("demo", "optimize"):
        display.say(f"no run of {recipe.name} yet: beginning one from the untuned model")
    return new_run(recipe, rows, display)


def new_run(recipe: Recipe, rows: Rows, display: Display) -> RunFolder:
    """Make a run folder with its splits."""
    splits = make_splits(rows, recipe.splits, recipe.seed)
    state = {"recipe": recipe.name, "fingerprints": recipe.fingerprints(), "begun_with": " ".join(sys.argv[1:])}
    folder = RunFolder.create(
        RUNS / recipe.name,
        recipe.path.read_text(encoding="utf-8"),
        splits_document(splits),
        state,
    )
    sizes = ", ".join(f"{side} {len(getattr(splits, side))}" for side in SIDES)
    display.say(f"run {folder.path}: {sizes} rows")
    for remark in [*rows.remarks, *split_remarks(splits, recipe.splits)]:
        display.say(f"  {remark}")
    return folder


def changed_tables(recipe: Recipe, folder: RunFolder) -> list[str]:
    """Tables that a run keeps from its beginning and that the recipe now says otherwise."""
    began: Mapping[str, str] = folder.state["fingerprints"]
    return [name for name, value in recipe.fingerprints().items() if began.get(name) != value]


def _tables(names: list[str]) -> str:
    return ", ".join("seed" if name == "seed" else f"[{name}]" for name in names)


def _changed_message(recipe: Recipe, folder: RunFolder, changed: list[str]) -> str:
    return (
        f"{recipe.path}: {_tables(changed)} changed since run {folder.path.name} began; "
        f"put it back, or begin a new run with `make optimize` or `make demo`"
    )


def _older_message(folder: RunFolder) -> str:
    return (
        f"run {folder.path} was made by an earlier edition, which kept its steps elsewhere: its bundles answer as "
        f"before (make predict, labelwright predict); to go on, begin a new run with `make optimize` or `make demo`"
    )
