"""`python -m bench.comparisons.sizes FOLDER MODEL …`: what a larger language model brings, and over what.

Four questions, each with rows of its own and the same for all models: few rows a label of the shipped topics; multiple
choice, where knowing something helps (OpenBookQA); seven labels whose names say what they are (SNIPS); and 77 that have
to be told apart by reading (Banking77). The comparison measures the untuned model and SFT of it beside classifiers that
need none. No test file is read, nor a row of the shipped test split; what is not drawn to be labelled is asked.

Differences are paired by row, to the smallest model and to the best of the others on these rows. That one is chosen on
the rows it is measured on, which flatters it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.comparisons.compared import NOTHING_BESIDE, compared, deal, right_on_test, write_rows
from labelwright.data.task import Example, group_keys, read_examples
from labelwright.errors import LabelwrightError
from labelwright.files import write_text
from labelwright.statistics.intervals import mean_interval
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.report.report import Report

SHIPPED = Path("runs/homeowner.toml")
DATA = Path("../shared/data")
# Of the labelled rows; train has the rest.
DEV = CALIB = 0.25
RECIPE = """
seed = {seed}
stages = []
[data]
path = {labelled}
test_path = {asked}
group = "group"
id = "id"
{choices}
[splits]
dev = {dev}
calib = {calib}
[task]
instructions = {instructions}
{labels}
[model]
name = {model}
[sft]
learning_rate = {learning_rate}
lora_layers = {lora_layers}
steps = {steps}
[baselines]
names = {names}
[models]
candidates = {candidates}
[compare]
seeds = 1
curves = []
noise = []
latency_rows = 10
"""


@dataclass(frozen=True)
class Question:
    """Rows that are asked one thing.

    Attributes
    ----------
    path : Path
        Rows with labels, a file to train on; or a recipe, of whose rows train and dev are taken.
    labelled : int
        Rows that teach: so many a label, each of a family of its own, or in all where rows bring choices.
    asked : int
        Rows that are measured on, at most.
    """

    path: Path
    instructions: str
    labelled: int
    asked: int
    names: tuple[str, ...] = ("sgd-chars", "minilm-logreg")
    candidates: tuple[str, ...] = ("untuned", "sft")
    has_choices: bool = False


QUESTIONS = {
    "few": Question(
        SHIPPED, "A home owner asks a question. Which part of the home is it about?", 8, 400,
        ("sgd-chars", "minilm-nearest-name", "minilm-logreg"),
    ),
    "choice": Question(
        DATA / "openbookqa/train.jsonl", "Answer the science question.", 1000, 400,
        ("chance", "minilm-nearest-choice", "pair-logreg"), has_choices=True,
    ),
    "snips": Question(DATA / "snips/train.jsonl", "What does the person want an assistant to do?", 20, 400),
    # Of 77 names of several tokens each a row costs ten times as much as of codes; untuned, codes mean nothing.
    "banking77": Question(
        DATA / "banking77/train.jsonl", "A bank's customer writes a message. What is it about?", 20, 400,
        candidates=("sft@code",),
    ),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what is missing, and print the tables; 0, or 2 where data or a model is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.comparisons.sizes", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="where rows, recipes and runs are kept")
    parser.add_argument(
        "models", nargs="+", metavar="MODEL[:LEARNING_RATE[:LAYERS[:STEPS]]]",
        help="a name or folder; how SFT strides, the share of the layers that it tunes, how many steps it takes "
        "(default: 1e-3, 1.0, 50)",
    )  # fmt: skip
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=[*QUESTIONS], help="(default: all)")
    parser.add_argument("--candidates", nargs="+", help="tunings of the models (default: as each question says)")
    parser.add_argument("--asked", type=int, help="rows measured on at most (default: as each question says)")
    parser.add_argument("--seed", type=int, default=0, help="of drawing, dealing and training (default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        for name in given.questions:
            question = QUESTIONS[name]
            if given.candidates:
                question = replace(question, candidates=tuple(given.candidates))
            labelled, asked = drawn(question, given.asked or question.asked, given.seed)
            found: dict[str, tuple[Report, dict[str, np.ndarray]]] = {}
            for model in given.models:
                recipe = write(given.folder, name, question, labelled, asked, model, given.seed)
                report, run = compared(given.folder, recipe)
                found[model.partition(":")[0]] = report, right_on_test(run, asked, report)
            sides = next(iter(found.values()))[0].splits
            print(f"## {name}: {sides.train} train, {sides.dev} dev, {sides.calib} calib rows, {len(asked)} asked\n")
            print("\n".join(table(found, group_keys(asked))), end="\n\n", flush=True)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def drawn(question: Question, n_asked: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Rows that teach, and rows that are asked, of other families."""
    rows, chance = _rows(question), random.Random(seed)
    if question.has_choices:
        mixed = chance.sample(rows, len(rows))
        return mixed[: question.labelled], mixed[question.labelled :][:n_asked]
    labelled, others = deal(rows, question.labelled, seed)
    return labelled, chance.sample(others, min(n_asked, len(others)))


def _rows(question: Question) -> list[Example]:
    if question.path.suffix == ".toml":
        recipe = read_recipe(question.path)
        splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
        return [*splits.train, *splits.dev]
    return read_examples(question.path, choices="choices" if question.has_choices else None)


def write(
    folder: Path,
    name: str,
    question: Question,
    labelled: Sequence[Example],
    asked: Sequence[Example],
    model: str,
    seed: int,
) -> str:
    """Rows and the recipe of one model; the recipe's name."""
    path, rate, layers, steps = (*model.split(":"), "", "", "")[:4]
    for which, rows in (("labelled", labelled), ("asked", asked)):
        write_rows(folder / f"{name}-{which}.jsonl", map(_record, rows))
    is_folder = Path(path).is_dir()
    told = {
        "labelled": f"{name}-labelled.jsonl", "asked": f"{name}-asked.jsonl", "instructions": question.instructions,
        "model": str(Path(path).absolute()) if is_folder else path, "names": question.names,
        "candidates": question.candidates,
    }  # fmt: skip
    labels = sorted({row.label for row in (*labelled, *asked)})
    filled = RECIPE.format(
        seed=seed, dev=DEV, calib=CALIB, learning_rate=rate or "1e-3", lora_layers=layers or "1.0",
        steps=steps or "50",
        labels="" if question.has_choices else f"labels = {json.dumps(labels, ensure_ascii=False)}",
        choices='choices = "choices"' if question.has_choices else "",
        **{key: json.dumps(value, ensure_ascii=False) for key, value in told.items()},
    )  # fmt: skip
    recipe = f"{name}-{Path(path).name}"
    write_text(folder / f"{recipe}.toml", filled + NOTHING_BESIDE)
    return recipe


def _record(row: Example) -> dict[str, object]:
    told = {"id": row.id, "text": row.text, "label": row.label, "group": row.group}
    return told | ({"choices": list(row.choices)} if row.choices else {})


def table(found: Mapping[str, tuple[Report, Mapping[str, np.ndarray]]], groups: Sequence[str]) -> list[str]:
    """Markdown: candidates of all models with accuracy and log loss, and paired to the first model and to the others.

    Parameters
    ----------
    found : mapping of str to (Report, mapping of str to bool array (n_rows,))
        By model: its report, and which rows each candidate has right.
    groups : sequence of str (n_rows,)
    """
    lines = [
        "| candidate | right % | log loss | points to the smallest model | points to the best other |",
        "|---|---|---|---|---|",
    ]
    first_report, first = next(iter(found.values()))
    others = [entry.name for entry in first_report.scored if entry.kind == "baseline"]
    best = max(others, key=lambda name: float(first[name].mean()))
    for name in others:
        lines.append(
            _line(name, first_report, first, groups, "", _told(first[name], first[best], groups, name == best))
        )
    for model, (report, right) in found.items():
        for entry in (one for one in report.scored if one.kind != "baseline"):
            mine = right[entry.name]
            smaller = _told(mine, first[entry.name], groups, right is first)
            called = f"{Path(model).name}, {entry.name}"
            lines.append(_line(entry.name, report, right, groups, smaller, _told(mine, first[best], groups), called))
    return lines


def _line(
    name: str, report: Report, right: Mapping[str, np.ndarray], groups: Sequence[str], smaller: str, other: str,
    called: str = "",
) -> str:  # fmt: skip
    entry = next(one for one in report.scored if one.name == name)
    value, low, high = (100 * end for end in mean_interval(right[name].astype(float), groups))
    cells = [called or name, f"{value:.1f} [{low:.1f}, {high:.1f}]", f"{entry.test['log_loss'].value:.2f}"]
    return f"| {' | '.join([*cells, smaller, other])} |"


def _told(right: np.ndarray, other: np.ndarray, groups: Sequence[str], is_same: bool = False) -> str:
    if is_same:
        return "–"
    value, low, high = (100 * end for end in mean_interval(right.astype(float) - other, groups))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    sys.exit(main())
