"""Reads a recipe: one TOML file into checked tables, with everything that is wrong with it told at once.

Types and ranges are declared at the tables' fields, the stages' tables are checked against the stages' own dataclasses,
and what tables say of each other is in ``checks.py``. No model is loaded and no tuning library imported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from labelwright.data.task import Label
from labelwright.errors import RecipeError
from labelwright.models import names as model_names
from labelwright.settings import Items, Range, shown
from workbench.recipe import stages as known_stages
from workbench.recipe.checks import cross_faults
from workbench.recipe.faults import Faults, name_fault
from workbench.recipe.fill import fill, unknown_keys
from workbench.recipe.recipe import TABLES, Recipe, own_candidates
from workbench.recipe.stages import DEFAULT_STAGES, read_pipeline, stage_class
from workbench.recipe.tables.fields import Name
from workbench.recipe.tables.task import QuestionTable

_LARGEST_FILE = 2**20


def read_recipe(path: Path | str, whole: bool = True) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    whole : bool
        False leaves out what tables say of each other: for looking at what was recorded, nothing of it counts.

    Raises
    ------
    RecipeError
        File missing or not TOML; unknown keys (with the nearest known one); wrong types; values out of range; tables
        that contradict each other. All faults in one line.
    """
    path = Path(path)
    document = _read_toml(path)
    faults = Faults()
    plain = {"name", "seed", "stages"}
    known = (*TABLES, *known_stages.STAGES)
    faults.add("", unknown_keys(document, [*sorted(plain), *known]))
    given = {name: document[name] for name in known if isinstance(document.get(name), dict)}
    for name in known:
        if name in document and name not in given:
            faults.add("", [f"{name} must be a table: write [{name}] and its keys below it"])
        elif name in ("data", "task") and name not in document:
            faults.add("", [f"no [{name}] table; a recipe needs at least [data] and [task]"])
    head = faults.read(_Head, {key: document[key] for key in plain if key in document}, "")
    if "name" not in document and (fault := name_fault(path.stem)):
        faults.add("", [f"the file's name {shown(path.stem)} stands for the recipe's: {fault}, or set name"])
    if "task" in given:
        given["task"] = {**given["task"], **_labels(given["task"], faults), **_questions(given["task"], faults)}
    read = {
        table: faults.read(cls, given.get(table, {}), table)
        for table, cls in TABLES.items()
        if table in given or (table not in document and table not in ("data", "task"))
    }
    stage_tables = {stage: given[stage] for stage in known_stages.STAGES if stage in given}
    models = read.get("models")
    in_candidates = [
        stage for candidate in (models.candidates if models else ()) for stage in read_pipeline(candidate).stages
    ]
    asked = dict.fromkeys([*(head.stages if head else ()), *in_candidates, *stage_tables])
    stages = {stage: faults.read(stage_class(stage), stage_tables.get(stage, {}), stage) for stage in asked}
    if not faults.found:
        assert head is not None
        recipe = Recipe(
            name=head.name or path.stem,
            path=path,
            seed=head.seed,
            stages=head.stages,
            stage_tables=stage_tables,
            **read,
        )
        recipe = _with_fitting_defaults(recipe, given.get("compare", {}))
        for table, fault in cross_faults(recipe, document, stages) if whole else ():
            faults.add(table, [fault])
    faults.raise_for(path)
    # The user's own words: bundles that this recipe makes may name the folders that it names.
    model_names.allow_folders_in(document)
    return recipe


def _with_fitting_defaults(recipe: Recipe, written: Mapping[str, Any]) -> Recipe:
    """Of the curves and the noise that nobody asked for, what the recipe's candidates can give."""
    names = [*recipe.baselines.names, *recipe.models.candidates, *own_candidates(recipe)]
    compare = recipe.compare
    if "curves" not in written:
        compare = replace(compare, curves=tuple(name for name in compare.curves if name in names))
    if "noise" not in written:
        compare = replace(compare, noise=tuple(name for name in compare.noise if name in recipe.baselines.names))
    return replace(recipe, compare=compare)


@dataclass(frozen=True)
class _Head:
    """The keys that stand above the first table."""

    name: Name = ""
    seed: Annotated[int, Range(0, 2**31 - 1 - 10_000)] = 0
    stages: Annotated[tuple[str, ...], Items(distinct=False, most=100)] = DEFAULT_STAGES

    def __post_init__(self) -> None:
        if self.name and (fault := name_fault(self.name)):
            raise RecipeError(f"name = {shown(self.name)}: {fault}")
        unknown = [shown(stage) for stage in self.stages if stage not in known_stages.STAGES]
        if unknown:
            raise RecipeError(
                f"stages: no stage {', '.join(unknown)}; known stages are {', '.join(known_stages.STAGES)}"
            )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise RecipeError(f"{shown(str(path))}: no such recipe; give a TOML file such as runs/homeowner.toml")
        if path.stat().st_size > _LARGEST_FILE:
            raise RecipeError(f"{path}: larger than a megabyte; a recipe is a page of TOML, data goes into [data] path")
        content = path.read_bytes()
    except RecipeError:
        raise
    except (OSError, ValueError) as error:
        raise RecipeError(f"{shown(str(path))}: cannot be read ({getattr(error, 'strerror', error)})") from error
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise RecipeError(f"{path}: begins with a byte order mark; save the recipe as UTF-8 without one")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 (byte {error.start}); save the recipe as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not TOML: {' '.join(str(error).split())[:300]}") from error


def _questions(table: Mapping[str, Any], faults: Faults) -> dict[str, tuple[QuestionTable, ...]]:
    """``questions`` as QuestionTable objects: tables with name, kind, labels, instructions and column."""
    if "questions" not in table:
        return {}
    given = table["questions"]
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        faults.add("task", ['questions must be a list of tables, such as {name = "urgent", kind = "yes_no"}'])
        return {"questions": ()}
    read = []
    for number, entry in enumerate(given, start=1):
        own: list[str] = []
        question = fill(QuestionTable, {**entry, **_labels(entry, faults, f"question {number}: ")}, own)
        read += [question] if question else []
        faults.add("task", [f"question {number}: {fault}" for fault in own])
    return {"questions": tuple(read)}


def _labels(table: Mapping[str, Any], faults: Faults, whose: str = "") -> dict[str, tuple[Label, ...]]:
    """``labels`` as Label objects: given as names, or as tables with name and description."""
    if "labels" not in table:
        return {}
    if table["labels"] == []:
        faults.add("task", [f"{whose}labels = []: expected two or more; leave it out to take them from the data"])
    if not isinstance(table["labels"], list):
        faults.add("task", [f'{whose}labels must be a list of names, or of tables {{name = "…", description = "…"}}'])
        return {"labels": ()}
    labels = []
    for number, entry in enumerate(table["labels"], start=1):
        own: list[str] = []
        label = None
        if isinstance(entry, str | dict):
            label = fill(Label, {"name": entry} if isinstance(entry, str) else entry, own)
        else:
            own.append(f"expected a name or a table, found {shown(entry)}")
        labels += [label] if label else []
        faults.add("task", [f"{whose}label {number}: {fault}" for fault in own])
    return {"labels": tuple(labels)}
