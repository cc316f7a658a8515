"""A recipe: one TOML file that says what to classify, with which model, through which stages.

Owns the recipe's tables, their defaults and every refusal of a wrong one. Reading a recipe loads no model and imports
no tuning library: a typing error is reported at once. The stages' own tables are checked against the stages' own
dataclasses, so a setting has one home.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from labelwright.engine import EngineSettings
from labelwright.errors import RecipeError
from labelwright.prompt import Style
from labelwright.task import Label, Task
from workbench.tables import check_keys, read_table

# Where each stage lives: imported by name when a recipe lists it, and not before.
STAGES = {
    "prior": ("optimizers.prior", "PriorStage"),
    "demos": ("optimizers.demos", "DemosStage"),
    "neighbours": ("optimizers.neighbours", "NeighboursStage"),
    "sft": ("optimizers.sft", "SftStage"),
    "gepa": ("optimizers.gepa", "GepaStage"),
    "grpo": ("optimizers.grpo", "GrpoStage"),
    "calibrate": ("optimizers.calibrate", "CalibrateStage"),
}
# What a run does where its recipe does not say.
DEFAULT_STAGES = ("gepa", "grpo", "calibrate")

# A run keeps the rows, the splits, the task and the model it began with; other tables may change under way.
FIXED_TABLES = ("data", "splits", "task", "model")

DEFAULT_TRACKING_URI = "sqlite:///runs/mlflow.db"


class Chain(NamedTuple):
    """A tuning of the model, as ``[models] rungs`` name it.

    Attributes
    ----------
    stages : tuple of str
    style : "name", "code" or None for the recipe's
    free : bool
        Whether it answers in free text.
    """

    stages: tuple[str, ...]
    style: Style | None = None
    free: bool = False

    @property
    def name(self) -> str:
        """What ``read_chain`` reads."""
        head = "free" if self.free else "+".join(self.stages) or "untuned"
        return f"{head}@{self.style}" if self.style else head


def read_chain(rung: str) -> Chain:
    """The chain of a rung's name. Raises RecipeError for a stage or style that there is not.

    >>> read_chain("sft+grpo@code")
    Chain(stages=('sft', 'grpo'), style='code', free=False)
    """
    head, at, style = rung.partition("@")
    if at and style not in ("name", "code"):
        raise RecipeError(f"rung {rung!r}: expected @name or @code behind it, found @{style}")
    stages = () if head in ("untuned", "free") else tuple(head.split("+"))
    usable = [stage for stage in STAGES if stage != "calibrate"]
    for stage in stages:
        if stage not in usable:
            also = "; every rung is calibrated by the comparison" if stage == "calibrate" else ""
            raise RecipeError(
                f"rung {rung!r}: no stage {stage!r}; expected untuned, free, or stages joined by +, of "
                f"{', '.join(usable)}{also}"
            )
    return Chain(stages, cast("Style | None", style or None), head == "free")


@dataclass(frozen=True)
class DataTable:
    """``[data]``: a file (``path``) or a Hugging Face dataset (``hub``, read through ``datasets``).

    Attributes
    ----------
    config, hub_splits, revision : str, tuple of str, str
        The dataset's configuration, the splits to read (all of them by default; they are pooled, because the workbench
        makes its own splits), and the commit to pin.
    text, label, group, id : str
        Column names; an empty ``group`` or ``id`` means there is none.
    choices : str
        Column of each row's own choices, where they differ by row; empty where rows share labels.
    test_path : str
        A file whose rows are the test split, whole. Rows of ``path`` with the text or the group of one of them are left
        out, and ``[splits] test`` does not count.
    out_of_scope : str
        A label that is none: rows of it have no right answer. They are no part of the splits; the comparison asks how
        well a rung's confidence tells them from test rows. Empty where there is none.
    max_rows : int
        Take this many rows of ``path``, drawn with the recipe's seed; 0 takes all.
    """

    path: str = ""
    hub: str = ""
    config: str = ""
    hub_splits: tuple[str, ...] = ()
    revision: str = ""
    text: str = "text"
    label: str = "label"
    group: str = ""
    id: str = ""
    choices: str = ""
    test_path: str = ""
    out_of_scope: str = ""
    max_rows: int = 0

    def __post_init__(self) -> None:
        if self.max_rows < 0:
            raise RecipeError(f"max_rows = {self.max_rows}: expected a number of rows, or 0 for all")
        if self.test_path and self.hub:
            raise RecipeError("test_path goes with path; with hub, rows of all its splits are dealt anew")
        if bool(self.path) == bool(self.hub):
            given = "both" if self.path else "neither"
            raise RecipeError(f"expected path (a file) or hub (a dataset id), found {given}: give one of them")


@dataclass(frozen=True)
class SplitTable:
    """``[splits]``: shares of the rows, each above 0; train gets what they leave."""

    dev: float = 0.12
    calib: float = 0.12
    test: float = 0.2

    def __post_init__(self) -> None:
        for name in ("dev", "calib", "test"):
            if not 0 < getattr(self, name) < 1:
                raise RecipeError(f"{name} = {getattr(self, name)}: expected a share between 0 and 1, such as 0.15")
        if self.dev + self.calib + self.test >= 0.9:
            raise RecipeError(
                f"dev + calib + test = {self.dev + self.calib + self.test:g}: leave at least 0.1 of the rows for train"
            )


@dataclass(frozen=True)
class TaskTable:
    """``[task]``: what the model is asked to do. Without ``labels`` every label in the data is taken, sorted."""

    instructions: str
    name: str = ""
    labels: tuple[Label, ...] = ()
    style: Style = "name"


@dataclass(frozen=True)
class ModelTable:
    """``[model]``: "smollm2", a Hugging Face id or a local folder; the rest is ``EngineSettings``."""

    name: str = "smollm2"
    backend: str = "transformers"
    device: str = "auto"
    dtype: str = "auto"
    url: str = ""
    long_rows: str = "refuse"
    unexpanded_mass: float = 1e-4
    thinking_tokens: int = 0

    def __post_init__(self) -> None:
        _ = self.settings  # refuses what the engines would refuse

    @property
    def settings(self) -> EngineSettings:
        """Where and how the model runs."""
        return EngineSettings(**{key: value for key, value in asdict(self).items() if key != "name"})


@dataclass(frozen=True)
class BaselineTable:
    """``[baselines]``: which of ``baselines.BASELINES`` stand in the leaderboard.

    Attributes
    ----------
    settings : mapping of name to mapping
        ``[baselines.settings.NAME]``: parameters of that estimator other than its defaults.
    """

    names: tuple[str, ...] = ("majority", "sgd-ngrams", "minilm-nearest-name", "minilm-logreg")
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelsTable:
    """``[models]``: which tunings of the language model stand in the leaderboard beside the run's own steps.

    Attributes
    ----------
    rungs : tuple of str
        Stages joined by "+" ("sft+grpo"), each tuned from the untuned model with the recipe's settings; "untuned", and
        "free" for the untuned model that answers in free text. With "@code" or "@name" behind, the model answers in
        that style whatever ``[task] style`` says.
    """

    rungs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for rung in self.rungs:
            read_chain(rung)


@dataclass(frozen=True)
class CompareTable:
    """``[compare]``: what the comparison measures besides the test scores.

    Attributes
    ----------
    seeds : int
        Trainings of every rung that trains no transformer, with the split fixed, and as many with the split varied.
    heavy_seeds : int
        The same for rungs that train a transformer.
    curves : tuple of str
        Rungs whose learning curve is drawn: test accuracy against training rows a label.
    curve_rows : tuple of int
        Training rows a label, each 1 or more; all there are is always one more point.
    noise : tuple of str
        Baselines, best of different families, that answer train rows they were not shown (three folds), to find rows
        whose label they doubt together.
    generate_rows : int
        Test rows answered by free generation, to see how often the answer is a label; 0 leaves it out.
    latency_rows : int
        Rows timed one by one.
    bootstrap : int
        Resamples behind every 95 % interval.
    """

    seeds: int = 3
    heavy_seeds: int = 1
    curves: tuple[str, ...] = ()
    curve_rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    noise: tuple[str, ...] = ()
    generate_rows: int = 64
    latency_rows: int = 40
    bootstrap: int = 2000

    def __post_init__(self) -> None:
        least = {"seeds": 1, "heavy_seeds": 1, "generate_rows": 0, "latency_rows": 1, "bootstrap": 100}
        for name, at_least in least.items():
            if getattr(self, name) < at_least:
                raise RecipeError(f"{name} = {getattr(self, name)}: expected {at_least} or more")
        if any(rows < 1 for rows in self.curve_rows):
            raise RecipeError(f"curve_rows = {list(self.curve_rows)}: expected numbers of rows, each 1 or more")


@dataclass(frozen=True)
class ExportTable:
    """``[export]``: ``merge`` writes whole weights instead of an adapter; ``golden_rows`` come from dev.

    Attributes
    ----------
    rung : str
        What is exported: the run's newest step where empty; "best" and "ship" are the verdict's; or a rung's name.
    """

    rung: str = ""
    merge: bool = False
    golden_rows: int = 24

    def __post_init__(self) -> None:
        if self.golden_rows < 1:
            raise RecipeError(f"golden_rows = {self.golden_rows}: expected 1 or more, they are how a bundle is checked")


@dataclass(frozen=True)
class TrackingTable:
    """``[tracking]``: MLflow's store and experiment. The environment's MLFLOW_TRACKING_URI goes before ``uri``."""

    uri: str = ""
    experiment: str = ""
    system_metrics: bool = True

    def resolved_uri(self) -> str:
        """The store to write to: the environment's, the recipe's, or SQLite under ``runs/``."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.uri or DEFAULT_TRACKING_URI


@dataclass(frozen=True)
class Recipe:
    """A whole recipe, checked. ``stage_tables`` holds the settings of every stage listed, as they were written."""

    name: str
    path: Path
    seed: int
    stages: tuple[str, ...]
    data: DataTable
    splits: SplitTable
    task: TaskTable
    model: ModelTable
    baselines: BaselineTable = field(default_factory=BaselineTable)
    models: ModelsTable = field(default_factory=ModelsTable)
    compare: CompareTable = field(default_factory=CompareTable)
    export: ExportTable = field(default_factory=ExportTable)
    tracking: TrackingTable = field(default_factory=TrackingTable)
    stage_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stage(self, name: str) -> Any:
        """The stage with the recipe's settings, whether or not ``stages`` lists it."""
        return build_stage(name, self.stage_tables.get(name, {}), f"{self.path}, [{name}]")

    def task_for(self, labels_in_data: tuple[str, ...], max_choices: int = 0) -> Task:
        """The task, its labels taken from the data where the recipe names none.

        Parameters
        ----------
        max_choices : int
            The most choices of any row, where rows bring their own.
        """
        if self.data.choices:
            return Task(self.task.name or self.name, self.task.instructions, (), max_choices)
        labels = self.task.labels or tuple(Label(name) for name in sorted(labels_in_data))
        return Task(self.task.name or self.name, self.task.instructions, labels)

    def fingerprints(self) -> dict[str, str]:
        """One short hash for each table that a run keeps from its beginning, and for the seed."""
        tables = {name: asdict(getattr(self, name)) for name in FIXED_TABLES}
        tables["seed"] = {"seed": self.seed}
        return {name: _short_hash(table) for name, table in tables.items()}


def read_recipe(path: Path | str) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    RecipeError
        File missing or not TOML; an unknown key (with the nearest known one); a wrong type; a value out of range.
    """
    path = Path(path)
    document = _read_toml(path)
    plain = {"name", "seed", "stages"}
    tables = {
        "data": DataTable,
        "splits": SplitTable,
        "task": TaskTable,
        "model": ModelTable,
        "baselines": BaselineTable,
        "models": ModelsTable,
        "compare": CompareTable,
        "export": ExportTable,
        "tracking": TrackingTable,
    }
    check_keys(document, [*sorted(plain), *tables, *STAGES], str(path))
    for name in ("data", "task"):
        if name not in document:
            raise RecipeError(f"{path}: no [{name}] table; a recipe needs at least [data] and [task]")
    for name in (*tables, *STAGES):
        if not isinstance(document.get(name, {}), dict):
            raise RecipeError(f"{path}: {name} must be a table: write [{name}] and its keys below it")
    head = read_table(_Head, {key: document[key] for key in plain if key in document}, str(path))
    document["task"] = {**document["task"], **_labels(document["task"], f"{path}, [task]")}
    read: dict[str, Any] = {
        name: read_table(cls, document.get(name, {}), f"{path}, [{name}]") for name, cls in tables.items()
    }
    stage_tables = {name: document[name] for name in STAGES if name in document}
    if read["data"].choices and (read["task"].labels or read["task"].style != "name"):
        raise RecipeError(
            f"{path}: [data] choices and [task] labels or style: rows bring their own choices, or share labels"
        )
    in_rungs = {stage for rung in read["models"].rungs for stage in read_chain(rung).stages}
    for name in {*head.stages, *in_rungs, *stage_tables}:
        build_stage(name, stage_tables.get(name, {}), f"{path}, [{name}]")
    return Recipe(
        name=head.name or path.stem,
        path=path,
        seed=head.seed,
        stages=head.stages,
        stage_tables=stage_tables,
        **read,
    )


def build_stage(name: str, table: Mapping[str, Any], where: str) -> Any:
    """Import a stage's dataclass and fill it from its table. Raises RecipeError, as ``read_recipe`` does."""
    module, cls = STAGES[name]
    return read_table(getattr(importlib.import_module(module), cls), table, where)


@dataclass(frozen=True)
class _Head:
    """The keys that stand above the first table."""

    name: str = ""
    seed: int = 0
    stages: tuple[str, ...] = DEFAULT_STAGES

    def __post_init__(self) -> None:
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise RecipeError(f"name = {self.name!r}: it names a folder; use letters, digits, '.', '_' and '-'")
        if self.seed < 0:
            raise RecipeError(f"seed = {self.seed}: expected 0 or more")
        for stage in self.stages:
            if stage not in STAGES:
                raise RecipeError(f"stages: no stage {stage!r}; known stages are {', '.join(STAGES)}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise RecipeError(f"{path}: no such recipe; give a TOML file such as runs/homeowner.toml") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 (byte {error.start}); save the recipe as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error


def _labels(table: Mapping[str, Any], where: str) -> dict[str, tuple[Label, ...]]:
    """``labels`` as Label objects: given as names, or as tables with name and description."""
    if "labels" not in table:
        return {}
    if not isinstance(table["labels"], list):
        raise RecipeError(f'{where}: labels must be a list of names, or of tables {{name = "…", description = "…"}}')
    labels = []
    for number, entry in enumerate(table["labels"], start=1):
        if isinstance(entry, str):
            labels.append(Label(entry))
        elif isinstance(entry, dict):
            labels.append(read_table(Label, entry, f"{where}, label {number}"))
        else:
            raise RecipeError(f"{where}, label {number}: expected a name or a table, found {entry!r}")
    return {"labels": tuple(labels)}


def _short_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
