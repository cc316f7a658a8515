"""A recipe: one TOML file that says what to classify, with which model, through which stages.

Owns which tables there are, and what follows from several of them: the task, the candidates, the hashes that a run
keeps. A table's keys are in ``tables``, a stage's are the stage's own dataclass; ``read.py`` fills them from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.columns import TEXT
from labelwright.data.task import Label, Task
from labelwright.errors import RecipeError
from labelwright.files import short_hash
from workbench.recipe.stages import DISTILLED, SYNTHETIC, Pipeline, build_stage, learns_soft, read_pipeline
from workbench.recipe.tables.candidates import BaselineTable, CascadeTable, DistilTable, EnsembleTable, ModelsTable
from workbench.recipe.tables.compare import CompareTable, MoneyTable
from workbench.recipe.tables.data import DataTable, SplitTable
from workbench.recipe.tables.model import ModelTable
from workbench.recipe.tables.search import SearchTable
from workbench.recipe.tables.synthetic import SyntheticTable
from workbench.recipe.tables.task import CostsTable, QuestionTable, TaskTable
from workbench.recipe.tables.tracking import TrackingTable
from workbench.recipe.tables.verbs import DemoTable, ExportTable

# A run keeps the rows, the splits, the task and the model it began with; other tables may change under way.
FIXED_TABLES = ("data", "splits", "task", "model")
# Keys of [data] that the first recipes did not have.
_LATER_KEYS = ["similar_labels", "choice_label", "delimiter", "encoding", "header", "quotes", "sheet", "split"]
_LATER_KEYS += ["title_rows", "label_prefix", "test_split", "leave_out", "train_path", "image", "image_read_by"]
_LATER_KEYS += ["separator"]


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
    costs: CostsTable = field(default_factory=CostsTable)
    baselines: BaselineTable = field(default_factory=BaselineTable)
    models: ModelsTable = field(default_factory=ModelsTable)
    compare: CompareTable = field(default_factory=CompareTable)
    ensemble: EnsembleTable = field(default_factory=EnsembleTable)
    cascade: CascadeTable = field(default_factory=CascadeTable)
    money: MoneyTable = field(default_factory=MoneyTable)
    distil: DistilTable = field(default_factory=DistilTable)
    synthetic: SyntheticTable = field(default_factory=SyntheticTable)
    search: SearchTable = field(default_factory=SearchTable)
    demo: DemoTable = field(default_factory=DemoTable)
    export: ExportTable = field(default_factory=ExportTable)
    tracking: TrackingTable = field(default_factory=TrackingTable)
    stage_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stage(self, name: str) -> Any:
        """The stage with the recipe's settings, whether or not ``stages`` lists it."""
        return build_stage(name, self.stage_tables.get(name, {}), f"{self.path}, [{name}]")

    @cached_property
    def asked(self) -> tuple[AskedColumns, ...]:
        """What is asked of a row besides one label of a list; empty where that is all. Raises DataError."""
        table, separator = self.task, self.data.separator
        if table.questions:
            return tuple(one.asked(separator) for one in table.questions)
        if table.kind == "choice":
            return ()
        one = QuestionTable(self.data.label, table.kind, table.labels, column=self.data.label)
        return (one.asked(separator),)

    @property
    def has_points(self) -> bool:
        """Whether several points are asked of every row."""
        return bool(self.asked) and bool(self.task_for(()).points)

    @property
    def label_names(self) -> list[str]:
        """The labels that the recipe names, or those of its questions; none where they are taken from the data."""
        if self.asked:
            return list(self.task_for(()).names)
        return [label.name for label in self.task.labels]

    def task_for(self, labels_in_data: tuple[str, ...], max_choices: int = 0) -> Task:
        """The task, its labels taken from the data where the recipe names none.

        Parameters
        ----------
        max_choices : int
            The most choices of any row, where rows bring their own.

        Raises
        ------
        RecipeError
            Prices of labels that there are not.
        """
        name, names = self.task.name or self.name, self.data.text_columns.names
        columns, image = () if names == (TEXT,) else names, self.data.image
        if self.data.choices:
            return Task(name, self.task.instructions, (), max_choices, text_columns=columns, image_column=image)
        if self.asked:
            questions, places = [one.question for one in self.asked], tuple(one.columns for one in self.asked)
            more: dict[str, Any] = {"answers_in": places, "separator": self.data.separator}
            task = Task.asking(name, self.task.instructions, questions, columns, image, **more)
        else:
            labels = self.task.labels or tuple(Label(name) for name in sorted(labels_in_data))
            more = {"text_columns": columns, "image_column": image, "tree_separator": self.task.tree}
            task = Task(name, self.task.instructions, labels, **more)
        costs = None if task.points else self.costs.prices
        if costs and (faults := costs.faults(task.names)):
            raise RecipeError(f"{self.path}, [costs]: {'; '.join(faults)}")
        return replace(task, costs=costs)

    def fingerprints(self) -> dict[str, str]:
        """One short hash for each table that a run keeps from its beginning, and for the seed."""
        tables = {name: asdict(getattr(self, name)) for name in FIXED_TABLES}
        # Keys that came later say nothing new where they are as they were before: older runs go on.
        for name in _LATER_KEYS:
            if getattr(self.data, name) == getattr(DataTable, name):
                del tables["data"][name]
        for name in ("kind", "questions", "tree"):
            if getattr(self.task, name) == getattr(TaskTable, name):
                del tables["task"][name]
        if not self.data.rename:
            del tables["data"]["rename"]
        # It changes no row of the run; what learns from it is stale by itself when it changes.
        del tables["data"]["unlabelled"]
        tables["data"]["hub_splits"] = tables["data"].pop("read_splits")  # its first name
        tables["seed"] = {"seed": self.seed}
        return {name: short_hash(table) for name, table in tables.items()}


TABLES: Mapping[str, type] = {
    "data": DataTable,
    "splits": SplitTable,
    "task": TaskTable,
    "costs": CostsTable,
    "model": ModelTable,
    "baselines": BaselineTable,
    "models": ModelsTable,
    "compare": CompareTable,
    "ensemble": EnsembleTable,
    "cascade": CascadeTable,
    "money": MoneyTable,
    "distil": DistilTable,
    "synthetic": SyntheticTable,
    "search": SearchTable,
    "demo": DemoTable,
    "export": ExportTable,
    "tracking": TrackingTable,
}


def asked_stages(recipe: Recipe) -> list[str]:
    """The stages of the run's own steps and of the candidates, each once."""
    of_candidates = (stage for name in recipe.models.candidates for stage in read_pipeline(name).stages)
    return list(dict.fromkeys([*recipe.stages, *of_candidates]))


def own_candidates(recipe: Recipe) -> list[str]:
    """Names of the candidates that the run's own steps will be."""
    stages = [stage for stage in recipe.stages if stage != "calibrate"]
    return [Pipeline(tuple(stages[:n])).name for n in range(len(stages) + 1)]


def distilled_candidates(recipe: Recipe) -> dict[str, str]:
    """Students by name, each with what it is besides; without a pool those that the recipe names."""
    able = [name for name in recipe.baselines.names if learns_soft(name)] if recipe.data.unlabelled else []
    return {f"{DISTILLED}{name}": name for name in recipe.distil.students or able}


def synthetic_candidates(recipe: Recipe) -> dict[str, str]:
    """Candidates that learn rows which a model wrote besides, by name, each with the baseline that it is."""
    return {f"{SYNTHETIC}{name}": name for name in recipe.synthetic.candidates}
