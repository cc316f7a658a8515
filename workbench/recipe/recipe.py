"""A recipe: one TOML file that says what to classify, with which model, through which stages.

Owns the recipe's tables and their defaults, as plain types whose fields say what is allowed (``labelwright.settings``);
``read.py`` fills them from a file. A stage's settings are the stage's own dataclass, so a setting has one home.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import baselines
from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.questions import Kind, Question
from labelwright.data.choices import LabelAs
from labelwright.data.columns import TEXT, TextColumns, image_shown, image_text
from labelwright.data.costs import Costs
from labelwright.data.formats.dialect import Dialect, delimiter_fault, encoding_fault
from labelwright.data.spelling import Similar
from labelwright.data.task import Label, Task
from labelwright.engines.settings import EngineSettings, device_fault
from labelwright.errors import RecipeError
from labelwright.files import short_hash
from labelwright.prompt import STYLES, Style, said_styles
from labelwright.settings import Check, Items, Range, Text, shown, url_fault
from workbench.recipe.faults import address_fault, store_fault
from workbench.recipe.fill import read_table
from workbench.recipe.search import SearchTable

# Where each stage lives: imported by name when a recipe lists it, and not before.
STAGES = {
    "prior": ("optimizers.prior", "PriorStage"),
    "demos": ("optimizers.demos", "DemosStage"),
    "neighbours": ("optimizers.neighbours", "NeighboursStage"),
    "sft": ("optimizers.training.sft", "SftStage"),
    "gepa": ("optimizers.gepa.stage", "GepaStage"),
    "grpo": ("optimizers.training.grpo", "GrpoStage"),
    "dpo": ("optimizers.training.dpo", "DpoStage"),
    "calibrate": ("optimizers.calibrate", "CalibrateStage"),
}
# Candidates that are made of other ones.
ENSEMBLE, ENSEMBLE_LIGHT, CASCADE = TOGETHER = ("ensemble", "ensemble-light", "cascade")
# What the model elsewhere that answers behind a cascade is called among [money] candidates. It is none by itself.
HOSTED = "hosted"
# Who does not look at a row has nothing to add to others.
BLIND = ("majority", "chance")
# What students are called, before the name of the baseline that each is; and who learns rows that a model wrote.
DISTILLED, SYNTHETIC = "distilled-", "synthetic-"
# What a run does where its recipe does not say.
DEFAULT_STAGES = ("gepa", "grpo", "calibrate")

# A run keeps the rows, the splits, the task and the model it began with; other tables may change under way.
FIXED_TABLES = ("data", "splits", "task", "model")
# Keys of [data] that the first recipes did not have.
_LATER_KEYS = ["similar_labels", "choice_label", "delimiter", "encoding", "header", "quotes", "sheet", "split"]
_LATER_KEYS += ["title_rows", "label_prefix", "test_split", "leave_out", "train_path", "image", "image_read_by"]
_LATER_KEYS += ["separator"]

DEFAULT_TRACKING_URI = "sqlite:///runs/mlflow.db"

Name = Annotated[str, Text()]
Needed = Annotated[str, Text(least=1)]
Names = Annotated[tuple[Needed, ...], Items()]
# A spreadsheet's header may have lines.
Column = Annotated[str, Text(lines=True)]
NeededColumn = Annotated[str, Text(least=1, lines=True)]
Share = Annotated[float, Range(0, 1, "()", "a share between 0 and 1, such as 0.15")]
Price = Annotated[float, Range(0)]


class Pipeline(NamedTuple):
    """A tuning of the model, as ``[models] candidates`` name it.

    Attributes
    ----------
    stages : tuple of str
    style : "name", "code", "letter" or None for the recipe's
    free : bool
        Whether it answers in free text.
    """

    stages: tuple[str, ...]
    style: Style | None = None
    free: bool = False

    @property
    def name(self) -> str:
        """What ``read_pipeline`` reads."""
        head = "free" if self.free else "+".join(self.stages) or "untuned"
        return f"{head}@{self.style}" if self.style else head


def read_pipeline(candidate: str) -> Pipeline:
    """The pipeline of a candidate's name. Raises RecipeError for a stage or style that there is not.

    >>> read_pipeline("sft+grpo@code")
    Pipeline(stages=('sft', 'grpo'), style='code', free=False)
    """
    head, at, style = candidate.partition("@")
    if at and style not in STYLES:
        expected = said_styles("@", "")
        raise RecipeError(f"candidate {shown(candidate)}: expected {expected} behind it, found {shown('@' + style)}")
    stages = () if head in ("untuned", "free") else tuple(head.split("+"))
    usable = [stage for stage in STAGES if stage != "calibrate"]
    for stage in stages:
        if stage not in usable:
            also = "; every candidate is calibrated by the comparison" if stage == "calibrate" else ""
            raise RecipeError(
                f"candidate {shown(candidate)}: no stage {shown(stage)}; expected untuned, free, or stages joined by "
                "+, of "
                f"{', '.join(usable)}{also}"
            )
    return Pipeline(stages, cast("Style | None", style or None), head == "free")


# Rows that can be left out, and counted, in place of being refused.
LeftOut = Literal["empty", "conflicting", "rare"]


@dataclass(frozen=True)
class DataTable:
    """``[data]``: a file or folder (``path``) or a Hugging Face dataset (``hub``, read through ``datasets``).

    Attributes
    ----------
    path : str
        A file of any kind that ``labelwright.data.records.scan_records`` reads, or a folder as
        ``labelwright.data.sources.parts_of`` does.
    config, revision : str
        The dataset's configuration, and the commit to pin.
    delimiter, encoding, header, quotes, sheet, title_rows, label_prefix
        How files are written, where they do not say it themselves: ``labelwright.data.formats.dialect.Dialect``.
    text : str or tuple of str
        The column of the text, or several, which become one text (``labelwright.data.columns``).
    image : str
        The column of images; empty for none. ``text`` then names the columns beside it; left at its default there is
        none, and ``["text"]`` is the column of that name.
    image_read_by : "ocr" or "model"
        Whether OCR reads images to text behind that of the other columns (``labelwright.pictures``), or ``[model]``,
        a vision-language model, looks at them itself.
    label, group, id : str
        Column names; an empty ``group`` or ``id`` means there is none.
    choices : str
        Column of each row's own choices, where they differ by row; empty where rows share labels.
    split : str
        Column that says which split a row was given for; empty where files, folders or the dataset say it.
    read_splits : tuple of str
        The splits to read; all of them by default. They are pooled, because the workbench makes its own splits.
    test_split : str
        Rows of this split are the test split, whole, as those of ``test_path`` are.
    test_path : str
        A file or folder whose rows are the test split, whole. Rows of ``path`` with the text or the group of one of
        them are left out, and ``[splits] test`` does not count.
    train_path : str
        A file whose rows are train rows, whole, and take no part in the dealing of the others: what was labelled later
        (`make next-rows`). Each kind of file says itself how it is read. Rows with the text or the group of a row of
        dev, calib or test are left out.
    unlabelled : str
        A file or folder of rows without labels, read as those of ``path`` are, for students to learn from
        (``[distil]``). It is no part of the splits, and a label in it is not read.
    out_of_scope : str
        A label that is none: rows of it have no right answer. They are no part of the splits; the comparison gives
        each candidate's bundle a scope (``labelwright.decisions.scope``) and asks how well it tells them from test
        rows. Those that are no test rows teach it (``workbench.recipe.beside.outside``). Empty where there is none.
    leave_out : tuple of "empty", "conflicting", "rare"
        Rows that are left out and counted, where they would be refused: without text or label; with a text that several
        labels are given to (a test split that is given keeps its own); of labels with too few rows to be learnt and
        measured.
    max_rows : int
        Take this many rows of ``path``, drawn with the recipe's seed, so many of every label that it can stand on every
        side; 0 takes all.
    similar_labels : "refuse", "merge" or "keep"
        What labels are that differ only in how they are written ("0" and "0.0", "Pool" and "pool ") among ``path``,
        ``test_path``, ``out_of_scope`` and ``[task] labels``: an error, one label, or different labels.
    separator : str
        Between the labels of a cell that has several, such as ";"; lists, in JSON too, need none.
    rename : mapping of str to str
        Labels as files have them, and as they are called here, such as paths of a tree. Labels that it does not name
        stay as they are; one that no row has is refused.
    choice_label : "auto", "text", "letter", "index0" or "index1"
        What ``label`` holds where rows bring their own choices: the right one's text, its letter, or its number, from
        0 or from 1. "auto" finds out, and refuses where several readings fit.
    """

    path: Name = ""
    hub: Name = ""
    config: Name = ""
    revision: Name = ""
    delimiter: Annotated[str, Check(delimiter_fault)] = Dialect.delimiter
    encoding: Annotated[str, Check(encoding_fault)] = Dialect.encoding
    header: bool = Dialect.header
    quotes: bool = Dialect.quotes
    sheet: Name = Dialect.sheet
    title_rows: Annotated[int, Range(0, expected="a number of rows")] = Dialect.title_rows
    label_prefix: Name = Dialect.label_prefix
    text: NeededColumn | Annotated[tuple[NeededColumn, ...], Items(least=1)] = TEXT
    image: Column = ""
    image_read_by: Literal["ocr", "model"] = "ocr"
    label: NeededColumn = "label"
    group: Column = ""
    id: Column = ""
    choices: Column = ""
    split: Column = ""
    read_splits: Names = ()
    test_split: Name = ""
    test_path: Name = ""
    train_path: Name = ""
    unlabelled: Name = ""
    out_of_scope: Name = ""
    leave_out: tuple[LeftOut, ...] = ()
    max_rows: Annotated[int, Range(0, expected="a number of rows, or 0 for all")] = 0
    similar_labels: Similar = "refuse"
    choice_label: LabelAs = "auto"
    separator: Name = ""
    rename: Mapping[Needed, Needed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one, other in [("label", "choices"), ("label", "group"), ("split", "label")]:
            if getattr(self, one) == getattr(self, other):
                raise RecipeError(f"{one} and {other} = {getattr(self, one)!r}: expected two columns")
        if self.image and self.image in (*self.text_columns.names, self.label, self.choices, self.split):
            raise RecipeError(f"image = {self.image!r} names a column of another kind as well: expected two columns")
        if self.image_read_by == "model" and not self.image:
            raise RecipeError(
                'image_read_by = "model" goes with image, which names the column: add it, or leave it out'
            )
        for other in ("label", "choices", "split"):
            if getattr(self, other) in self.text_columns.names:
                raise RecipeError(f"text and {other} = {getattr(self, other)!r}: expected two columns")
        if self.test_path and (self.hub or self.test_split):
            other = "test_split" if self.test_split else "hub"
            raise RecipeError(f"test_path and {other}: expected one of them; test_split names a split of path or hub")
        if self.train_path and self.train_path in (self.path, self.test_path):
            raise RecipeError(
                f"train_path = {self.train_path!r}: expected a file of its own, besides path and test_path"
            )
        if self.unlabelled and self.unlabelled in (self.path, self.test_path, self.train_path):
            raise RecipeError(f"unlabelled = {self.unlabelled!r}: expected a file of its own, of rows without labels")
        if self.split and self.hub:
            raise RecipeError("split goes with path; a dataset's splits are known by name")
        if self.test_split and self.read_splits and self.test_split not in self.read_splits:
            raise RecipeError(f"read_splits: {self.test_split!r}, which test_split names, is not among them; add it")
        if bool(self.path) == bool(self.hub):
            given = "both" if self.path else "neither"
            raise RecipeError(f"expected path (a file) or hub (a dataset id), found {given}: give one of them")

    @property
    def text_columns(self) -> TextColumns:
        """How a row becomes its text, once its image is read."""
        if not self.image:
            return TextColumns.of(self.text)
        beside = () if self.text == TEXT else TextColumns.of(self.text).names
        if self.shows_images:
            return TextColumns((image_shown(self.image), *beside))
        return TextColumns((*beside, image_text(self.image)))

    @property
    def shows_images(self) -> bool:
        """Whether the model looks at the images itself."""
        return bool(self.image) and self.image_read_by == "model"

    @property
    def source(self) -> str:
        """What rows come from, for messages."""
        return self.path or self.hub

    @property
    def test_source(self) -> str:
        """The same of the test split, where one is given; empty where rows are dealt."""
        return self.test_path or (f"{self.source} ({self.test_split})" if self.test_split else "")

    @property
    def dialect(self) -> Dialect:
        """How files are written."""
        return Dialect(**{one.name: getattr(self, one.name) for one in fields(Dialect)})


@dataclass(frozen=True)
class SplitTable:
    """``[splits]``: shares of the rows, each above 0; train gets what they leave."""

    dev: Share = 0.12
    calib: Share = 0.12
    test: Share = 0.2

    def __post_init__(self) -> None:
        if self.dev + self.calib + self.test >= 0.9:
            raise RecipeError(
                f"dev + calib + test = {self.dev + self.calib + self.test:g}: leave at least 0.1 of the rows for train"
            )


@dataclass(frozen=True)
class QuestionTable:
    """One of ``[task] questions``: a question about every row, and where its answers stand.

    Attributes
    ----------
    kind : "choice", "labels", "score" or "yes_no"
        One of the labels; any of them; one of them, which are levels in rising order; yes or no.
    column : str or tuple of str
        The column of the answers, which is called as the question is where nothing is said; of kind "labels" also one
        a label, each with yes or no.
    """

    name: Needed
    kind: Kind = "choice"
    labels: tuple[Label, ...] = ()
    instructions: Annotated[str, Text()] = ""
    column: Column | tuple[NeededColumn, ...] = ""

    def asked(self, separator: str) -> AskedColumns:
        """The question with its columns. Raises DataError where they are none, as ``Question`` does."""
        columns = (self.column or self.name,) if isinstance(self.column, str) else self.column
        return AskedColumns(Question(self.name, self.kind, self.labels, self.instructions), columns, separator)


@dataclass(frozen=True)
class TaskTable:
    """``[task]``: what the model is asked to do. Without ``labels`` every label in the data is taken, sorted.

    Attributes
    ----------
    kind : "choice", "labels", "score" or "yes_no"
        What the column of the label holds: one of the labels; any of them; one of them, which are levels in rising
        order; yes or no.
    questions : tuple of QuestionTable
        Several questions about every row, in place of ``kind`` and ``labels``.
    tree : str
        What stands between the parts of labels that are paths ("billing > refund"), such as " > "; empty for a list.
    """

    instructions: Annotated[str, Text(least=1, most=100_000, lines=True)]
    name: Name = ""
    labels: tuple[Label, ...] = ()
    style: Style = "name"
    kind: Kind = "choice"
    questions: tuple[QuestionTable, ...] = ()
    tree: Annotated[str, Text(least=0, most=20)] = ""


@dataclass(frozen=True)
class CostsTable:
    """``[costs]``: what mistakes cost, in any one unit. As it stands, the likeliest label is said.

    Attributes
    ----------
    matrix : mapping of gold label to mapping of answered label to price
        What differs from ``wrong`` and ``right``.
    wrong, right : float
        The price of a mistake, and of a right answer, that ``matrix`` does not list.
    abstain : float
        The price of giving no label, a person's look at the row, say; 0 where nobody can be asked.
    """

    matrix: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)
    wrong: Price = 1.0
    right: Price = 0.0
    abstain: Price = 0.0

    @property
    def prices(self) -> Costs | None:
        """As a task has them; None where all mistakes cost the same and nobody can be asked."""
        return None if self == CostsTable() else Costs.from_dict({**asdict(self), "abstain": self.abstain or None})


@dataclass(frozen=True)
class ModelTable(EngineSettings):
    """``[model]``: "smollm2", a Hugging Face id or a local folder; the rest is ``EngineSettings``."""

    name: Needed = "smollm2"
    device: Annotated[str, Check(device_fault)] = EngineSettings.device
    url: Annotated[str, Text(), Check(url_fault)] = EngineSettings.url

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

    names: Names = (
        *("majority", "sgd-ngrams", "sgd-chars", "minilm-nearest-name"),
        *("minilm-logreg", "minilm-svm", "minilm-mlp", "minilm-knn"),
    )
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelsTable:
    """``[models]``: which tunings of the language model stand in the leaderboard beside the run's own steps.

    Attributes
    ----------
    candidates : tuple of str
        Stages joined by "+" ("sft+grpo"), each tuned from the untuned model with the recipe's settings; "untuned", and
        "free" for the untuned model that answers in free text. With "@code", "@letter" or "@name" behind, the model
        answers in that style whatever ``[task] style`` says.
    """

    candidates: Names = ()

    def __post_init__(self) -> None:
        faults = [fault for candidate in self.candidates if (fault := _pipeline_fault(candidate))]
        if faults:
            raise RecipeError("; ".join(faults))


@dataclass(frozen=True)
class CompareTable:
    """``[compare]``: what the comparison measures besides the test scores.

    Attributes
    ----------
    seeds : int
        Trainings of every candidate that trains no transformer, with the split fixed, and as many with the split
        varied.
    heavy_seeds : int
        The same for candidates that train a transformer.
    splits : int
        Trainings with the split varied, of candidates that train no transformer; 0: as many as ``seeds``.
    curves : tuple of str
        Candidates whose learning curve is drawn: test accuracy against training rows a label. Where a recipe does not
        say, those of the default that stand in it; ``noise`` likewise.
    curve_rows : tuple of int
        Training rows a label, each 1 or more; all there are is always one more point.
    noise : tuple of str
        Baselines, best of different families, that answer train rows they were not shown (three folds), to find rows
        whose label they doubt together.
    generate_rows : int
        Test rows answered by free generation, to see how often the answer is a label; 0 leaves it out.
    steering_rows : int
        Test rows that every candidate answers five times more, each time with an ending that asks for another label, to
        see how often that becomes the answer; 0 leaves it out.
    latency_rows : int
        Rows timed one by one.
    bootstrap : int
        Resamples behind the 95 % intervals of all metrics but accuracy.
    margin : float
        Share of accuracy that a cheaper candidate may lose and still be as good as the best; above 0, below 0.5. It is
        shipped only where the test rows show that it loses no more.
    engine : {"local", "ray"}
        Whether candidates run one after another on this machine, or as tasks of Ray, several at once.
    address : str
        The Ray cluster, "host:port" or "auto"; empty: RAY_ADDRESS, or where that is not set a cluster of this machine
        alone, for as long as the comparison takes.
    """

    seeds: Annotated[int, Range(1, 1000)] = 3
    heavy_seeds: Annotated[int, Range(1, 1000)] = 1
    splits: Annotated[int, Range(0, 1000)] = 0
    curves: Names = ("sgd-ngrams", "minilm-nearest-name", "minilm-logreg")
    curve_rows: Annotated[tuple[Annotated[int, Range(1)], ...], Items()] = (1, 2, 4, 8, 16)
    noise: Names = ("sgd-chars", "minilm-logreg")
    generate_rows: Annotated[int, Range(0)] = 64
    steering_rows: Annotated[int, Range(0)] = 0
    latency_rows: Annotated[int, Range(1)] = 40
    bootstrap: Annotated[int, Range(100, 100_000)] = 2000
    margin: Annotated[float, Range(0, 0.5, "()", "a share of accuracy above 0 and below 0.5, such as 0.02")] = 0.02
    engine: Literal["local", "ray"] = "local"
    address: Annotated[str, Text(), Check(address_fault)] = ""


@dataclass(frozen=True)
class EnsembleTable:
    """``[ensemble]``: the candidate that is a weighted mean of others, chosen on dev; "-light": without transformers.

    Attributes
    ----------
    members : tuple of str
        Candidates that may be in it; empty: all that give probabilities.
    most_members : int
        So many are in it at most; 0 leaves the ensemble out.
    n_bags : int
        Resamples of dev over which the weights are averaged.
    """

    members: Names = ()
    most_members: Annotated[int, Range(0, 32)] = 8
    n_bags: Annotated[int, Range(1, 1000)] = 20

    def __post_init__(self) -> None:
        if self.most_members == 1:
            raise RecipeError("most_members = 1: expected 2 or more, or 0 to leave the ensemble out")


@dataclass(frozen=True)
class CascadeTable:
    """``[cascade]``: the candidate in which cheaper members answer what they are sure of, and others the rest.

    Attributes
    ----------
    members : tuple of str
        Candidates that may be asked; empty: all that give probabilities.
    most_levels : int
        So many are asked one after another at most; 0 leaves the cascade out.
    hosted_model : str
        What is asked about the rows that all of these are unsure of: any model of DSPy's, or with ``hosted_url`` the
        name that a server has. It sees the texts of calib and test rows. Empty: nobody.
    hosted_url : str
        An OpenAI-compatible server; keys come from the environment.
    hosted_calls : int
        Questions in all, those of earlier comparisons included; half of them at most for calib.
    """

    members: Names = ()
    most_levels: Annotated[int, Range(0, 4)] = 3
    hosted_model: Name = ""
    hosted_url: Annotated[str, Text(), Check(url_fault)] = ""
    hosted_calls: Annotated[int, Range(2)] = 1000

    def __post_init__(self) -> None:
        if self.most_levels == 1:
            raise RecipeError("most_levels = 1: expected 2 or more, or 0 to leave the cascade out")

    def without_hosted(self) -> CascadeTable:
        """The same cascade, behind which nobody is asked."""
        return replace(self, hosted_model="", hosted_url="", hosted_calls=CascadeTable.hosted_calls)


@dataclass(frozen=True)
class MoneyTable:
    """``[money]``: what answering rows costs, for the report to hold accuracy against. Mistakes have ``[costs]``.

    Attributes
    ----------
    person : float, optional
        What a person's answers to 1,000 rows cost; left out where nobody is asked.
    hour : float, optional
        What an hour of the machine costs, with which milliseconds become money.
    candidates : mapping of str to float
        What a candidate's answers to 1,000 rows cost, a hosted model's say, in the place of its milliseconds.
    """

    person: Annotated[float, Range(0)] | None = None
    hour: Annotated[float, Range(0)] | None = None
    candidates: Mapping[str, Annotated[float, Range(0)]] = field(default_factory=dict)


@dataclass(frozen=True)
class DistilTable:
    """``[distil]``: students that learn a teacher's probabilities of the rows of ``[data] unlabelled``.

    Attributes
    ----------
    teacher : str
        A candidate; empty: the ensemble where there is one, else the candidate that is best on dev.
    students : tuple of str
        Baselines that learn from probabilities, of those in ``[baselines] names``, and tunings of the model that have
        a stage which does ("sft"), of ``[models] candidates`` and the run's own; empty: all such baselines.
    most_rows : int
        Rows of the pool that are learnt at most, drawn by chance.
    """

    teacher: Name = ""
    students: Names = ()
    most_rows: Annotated[int, Range(1, 1_000_000)] = 20_000


# Who writes a row, and how long it is: said to the model, one of each a question.
PERSONAS = (
    *("someone in a hurry, on a phone, with a typo", "someone who tells the whole story first"),
    *("a beginner who lacks the right words", "an expert who uses technical terms", "someone who is annoyed"),
    *("someone polite who asks a question", "someone for whom this is a second language"),
)
LENGTHS = ("a few words, no full sentence", "one sentence", "two or three sentences")


@dataclass(frozen=True)
class SyntheticTable:
    """``[synthetic]``: train rows that a larger model writes (`make synthesize`), and which baselines learn them.

    Attributes
    ----------
    model : str
        Who writes: any model as DSPy names them ("openai/gpt-4.1-mini"); with ``url`` the name under which that server
        has it.
    url : str
        An OpenAI-compatible server. Keys come from the environment.
    check_model, check_url : str
        Who is asked for the label of what was written, in the same way; empty: who wrote it.
    path : str
        Rows to learn in place of those that are written to runs/NAME/synthetic.jsonl; a file that is only read.
    candidates : tuple of str
        Of ``[baselines] names``: each stands in the comparison once more, as one that learnt these rows besides.
    rows_per_label : int
        So many are wanted, after all that is dropped.
    rows_per_call : int
        Asked for at a time, all after one seed row.
    max_calls : int
        Questions in all, checks and those of earlier commands included.
    at_once : int
        Questions in flight at a time.
    temperature : float
        Of who writes; who checks is asked at 0.
    max_tokens : int
        Of an answer, thoughts included.
    near_copy : float
        Share of runs of four characters from which on a row counts as a copy of another. Of the shipped rows, those of
        different families that are most alike share 0.28.
    personas, lengths : tuple of str
        Said to who writes, one of each a question.
    """

    model: Name = ""
    url: Annotated[str, Text(), Check(url_fault)] = ""
    check_model: Name = ""
    check_url: Annotated[str, Text(), Check(url_fault)] = ""
    path: Name = ""
    candidates: Names = ()
    rows_per_label: Annotated[int, Range(1, 10_000)] = 16
    rows_per_call: Annotated[int, Range(1, 50)] = 4
    max_calls: Annotated[int, Range(1, 1_000_000)] = 2000
    at_once: Annotated[int, Range(1, 64)] = 4
    temperature: Annotated[float, Range(0, 2)] = 0.9
    max_tokens: Annotated[int, Range(16, 100_000)] = 1000
    near_copy: Share = 0.5
    personas: Names = PERSONAS
    lengths: Names = LENGTHS

    def __post_init__(self) -> None:
        faults = [
            f"{url} is set and {model} is not: expected the name under which the server has the model"
            for url, model in (("url", "model"), ("check_url", "check_model"))
            if getattr(self, url) and not getattr(self, model)
        ]
        faults += [f"{name} = []: expected one at least" for name in ("personas", "lengths") if not getattr(self, name)]
        if faults:
            raise RecipeError("; ".join(faults))


@dataclass(frozen=True)
class DemoTable:
    """``[demo]``: what `make demo` compares, and how long it may take; `make compare` adds the rest.

    Attributes
    ----------
    candidates : tuple of str
        Of those in ``[baselines]`` and ``[models]``, beside the run's own steps; left out, all baselines that train no
        transformer.
    minutes : float
        A budget: stages and candidates that are not expected to fit in it are left out, by name. 0 is none.
    """

    candidates: Names = ()
    minutes: Annotated[float, Range(0, 100_000, expected="a number of minutes, or 0 for no limit")] = 0


@dataclass(frozen=True)
class ExportTable:
    """``[export]``: ``merge`` writes whole weights instead of an adapter; ``golden_rows`` come from dev.

    Attributes
    ----------
    candidate : str
        What is exported: the run's newest step where empty; "best" and "ship" are the verdict's; or a candidate's name.
    watch_rows : int
        Dev rows whose answers are counted at most, for ``labelwright watch`` to compare with; 0 for none.
    """

    candidate: Name = ""
    merge: bool = False
    golden_rows: Annotated[int, Range(1)] = 24
    watch_rows: Annotated[int, Range(0)] = 1000


@dataclass(frozen=True)
class TrackingTable:
    """``[tracking]``: MLflow's store and experiment. The environment's MLFLOW_TRACKING_URI goes before ``uri``.

    Attributes
    ----------
    evaluation_rows : int
        Test rows that are recorded one by one with what the chief candidates answered, wrong and unsure ones first.
    review_rows : int
        Rows in doubt that people are asked about.
    wait_s : float
        Seconds that a command waits for a server in all; what is not there by then, the next command brings.
    """

    uri: Annotated[str, Text(), Check(store_fault)] = ""
    experiment: Annotated[str, Text(most=400)] = ""
    system_metrics: bool = True
    evaluation_rows: Annotated[int, Range(0, 10_000)] = 200
    review_rows: Annotated[int, Range(0, 10_000)] = 100
    wait_s: Annotated[float, Range(0, 3600)] = 9.0

    def __post_init__(self) -> None:
        if re.search("://[^@]*:[^@]*@", self.uri):
            # The recipe is recorded with every run, and this message with who runs it.
            raise RecipeError(
                "uri holds a password: take it out, and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, in the environment"
            )

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


def build_stage(name: str, table: Mapping[str, Any], where: str) -> Any:
    """Import a stage's dataclass and fill it from its table. Raises RecipeError, as ``read_recipe`` does."""
    return read_table(stage_class(name), table, where)


def asked_stages(recipe: Recipe) -> list[str]:
    """The stages of the run's own steps and of the candidates, each once."""
    of_candidates = (stage for name in recipe.models.candidates for stage in read_pipeline(name).stages)
    return list(dict.fromkeys([*recipe.stages, *of_candidates]))


def own_candidates(recipe: Recipe) -> list[str]:
    """Names of the candidates that the run's own steps will be."""
    stages = [stage for stage in recipe.stages if stage != "calibrate"]
    return [Pipeline(tuple(stages[:n])).name for n in range(len(stages) + 1)]


def distilled_candidates(recipe: Recipe) -> dict[str, str]:
    """Students by name, each with what it is besides; none where there is no pool to learn from."""
    if not recipe.data.unlabelled:
        return {}
    able = [name for name in recipe.baselines.names if learns_soft(name)]
    return {f"{DISTILLED}{name}": name for name in recipe.distil.students or able}


def synthetic_candidates(recipe: Recipe) -> dict[str, str]:
    """Candidates that learn rows which a model wrote besides, by name, each with the baseline that it is."""
    return {f"{SYNTHETIC}{name}": name for name in recipe.synthetic.candidates}


def learns_soft(name: str) -> bool:
    """Whether a baseline of that name, or a pipeline, learns from probabilities."""
    if name in baselines.BASELINES:
        return bool(getattr(baselines.BASELINES[name], "learns_soft", False))
    return not _pipeline_fault(name) and any(
        getattr(stage_class(stage), "learns_soft", False) for stage in read_pipeline(name).stages
    )


def stage_class(name: str) -> type:
    """The dataclass of a stage, which is its settings; its module is imported here and not before."""
    module, cls = STAGES[name]
    return cast("type", getattr(importlib.import_module(module), cls))


def _pipeline_fault(candidate: str) -> str:
    try:
        stages = read_pipeline(candidate).stages
    except RecipeError as error:
        return str(error)
    # A run may go through a stage again ([stages]); a candidate that names one twice is a slip.
    twice = next((stage for number, stage in enumerate(stages) if stage in stages[:number]), None)
    return (
        f"candidate {shown(candidate)}: stage {shown(twice)} stands in it twice; name each stage once" if twice else ""
    )
