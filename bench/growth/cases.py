"""What is measured: each dimension's series, and each series' cases. A case is a command in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bench.growth.made import label_names, small_bundle, write_labelled, write_rows
from bench.memory import usage_of

Kind = Literal["predict", "score", "compare", "train"]

# What a model costs that is as sure as a tuned one is measured on the untuned one with its scores spread apart: how
# many options are expanded depends on the calibrated probabilities alone, and an adapter is merged when it is opened.
SURE = 0.1
# Behind it stands what a process says that it took for its work alone, without its start.
MEASURED = "measured "
# Rows that a training reads, of each label six at least.
_TAUGHT_ROWS = 400


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes
    ----------
    kind : {"predict", "score", "compare", "train"}
        `labelwright predict` of a small classifier; one call of the scorer; `workbench compare` of two baselines;
        two steps of `workbench train`.
    what : str
        Of "predict" the baseline, else the model.
    n_words, label_words : int
        Words a text, and a label's name.
    temperature : float
        Of the scores, for "score".
    """

    kind: Kind
    what: str
    n_rows: int = 64
    n_labels: int = 18
    n_words: int = 12
    label_words: int = 2
    temperature: float = 1.0
    threads: int = 1

    @property
    def names(self) -> list[str]:
        """Its labels."""
        return label_names(self.n_labels, self.label_words)


@dataclass(frozen=True)
class Series:
    """Cases along one dimension.

    Attributes
    ----------
    dimension : str
        What ``xs`` counts.
    of : callable
        From an x to its case.
    """

    dimension: str
    name: str
    xs: tuple[int, ...]
    of: Callable[[int], Case]

    def key(self, x: int) -> str:
        """By which a case is kept."""
        return f"{self.dimension}, {self.name}, {x}"


@dataclass(frozen=True)
class Measured:
    """What a case took.

    Attributes
    ----------
    cpu_s, wall_s : float
        Of its work: of "score" without the start, else of the whole command.
    peak_bytes : int
        Of its largest process.
    facts : mapping
        What it says besides.
    date : str
        When, as YYYY-MM-DD.
    """

    cpu_s: float
    wall_s: float
    peak_bytes: int
    facts: Mapping[str, float] = field(default_factory=dict)
    date: str = ""


def series(model: str, quick: bool = False) -> tuple[Series, ...]:
    """All of them; quick ones have two cases of few rows."""
    n_score, short = (2 if quick else 32), (lambda *xs: xs[:2] if quick else xs)
    rows = short(100, 1000, 10_000, 100_000, 1_000_000)
    many = 100 if quick else 5000

    def score(**more: float) -> Case:
        return Case("score", model, **{"n_rows": n_score, **more})  # type: ignore[arg-type]

    return (
        Series("rows", "n-grams", rows, lambda x: Case("predict", "sgd-ngrams", n_rows=x)),
        Series("rows", "static embeddings", rows, lambda x: Case("predict", "static-logreg", n_rows=x)),
        Series("rows", "model", short(10, 30, 100, 300, 1000, 3000, 10_000), lambda x: score(n_rows=x)),
        Series("labels", "n-grams", short(2, 8, 18, 77, 300, 1000), lambda x: Case("predict", "sgd-ngrams", many, x)),
        Series("labels", "model, untuned", short(2, 8, 18, 77, 300, 1000), lambda x: score(n_labels=x)),
        Series("labels", "model, sure", short(2, 8, 18, 77, 300, 1000), lambda x: score(n_labels=x, temperature=SURE)),
        Series("labels", "comparison", short(10, 30, 100, 300, 1000), lambda x: Case("compare", "", 6000, x)),
        Series("labels", "training", short(2, 8, 18, 77, 300), lambda x: Case("train", model, n_rows=16, n_labels=x)),
        Series("tokens", "n-grams", short(8, 32, 128, 512), lambda x: Case("predict", "sgd-ngrams", many, n_words=x)),
        Series("tokens", "model", short(8, 16, 32, 64, 128, 256), lambda x: score(n_words=x)),
        Series("options", "model", short(1, 2, 4, 8, 16), lambda x: score(label_words=x)),
        Series("threads", "model", short(1, 2, 4), lambda x: score(threads=x)),
    )


# What an x of each dimension is.
UNITS = {
    "rows": "rows of 12 words",
    "labels": "labels",
    "tokens": "words a row",
    "options": "words a label",
    "threads": "threads",
}


def measure(case: Case, folder: Path) -> Measured:
    """Measure a case in an empty folder. Raises LabelwrightError where its command fails."""
    command = _COMMANDS[case.kind](case, folder)
    threads = {name: str(case.threads) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")}
    used = usage_of([sys.executable, "-m", *command], folder, threads)
    cpu_s, wall_s, facts = used.cpu_s, used.wall_s, {}
    for line in used.said.splitlines():
        if line.startswith(MEASURED):
            facts = json.loads(line.removeprefix(MEASURED))
            cpu_s, wall_s = facts.pop("cpu_s"), facts.pop("wall_s")
    return Measured(cpu_s, wall_s, used.peak_bytes, facts, datetime.now(UTC).date().isoformat())


def _predict(case: Case, folder: Path) -> list[str]:
    small_bundle(case.what, case.names, folder / "bundle")
    write_rows(folder / "rows.jsonl", case.n_rows, case.n_words)
    return ["labelwright.cli", "predict", "bundle", "--input", "rows.jsonl", "--output", "answers.jsonl"]


def _score(case: Case, folder: Path) -> list[str]:
    return ["bench.growth.score", json.dumps(asdict(case))]


def _compare(case: Case, folder: Path) -> list[str]:
    _write_recipe(
        case, folder, case.n_rows, '[baselines]\nnames = ["majority", "sgd-ngrams"]\n[models]\ncandidates = []'
    )
    return ["workbench", "compare", "growth.toml"]


def _train(case: Case, folder: Path) -> list[str]:
    n_rows = max(_TAUGHT_ROWS, 6 * case.n_labels)
    tuned = f"[sft]\nsteps = 2\neval_every = 2\nrows_per_step = {case.n_rows}\n[splits]\ndev = 0.02\ncalib = 0.02"
    _write_recipe(case, folder, n_rows, f"[model]\nname = {json.dumps(case.what)}\n{tuned}", 'stages = ["sft"]')
    return ["workbench", "train", "growth.toml"]


def _write_recipe(case: Case, folder: Path, n_rows: int, tables: str, stages: str = "stages = []") -> None:
    write_labelled(folder / "rows.jsonl", case.names, n_rows)
    text = f"""name = "growth"
{stages}
[data]
path = "rows.jsonl"
[task]
instructions = "Which of these is the text about?"
[compare]
seeds = 1
curves = []
[ensemble]
most_members = 0
[cascade]
most_levels = 0
[tracking]
system_metrics = false
{tables}
"""
    (folder / "growth.toml").write_text(text, encoding="utf-8")


_COMMANDS: dict[Kind, Callable[[Case, Path], list[str]]] = {
    "predict": _predict,
    "score": _score,
    "compare": _compare,
    "train": _train,
}
