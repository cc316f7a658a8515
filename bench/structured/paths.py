"""`python -m bench.structured.paths`: flat, level by level, or a classifier at each node of a tree of labels.

The tree is made of Banking77's labels by rule: a label lies under the first of some words that its name has ("card",
"transfer", "top up" …), and what has none of them under "other". Candidates answer rows of the train file out of fold,
with one temperature each; level by level is read off the same probabilities. The test file is not read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.decisions.next_rows import DATA
from labelwright.data.task import Example, Label, Splits, Task, group_keys, read_examples
from labelwright.decisions.decision import LIKELIEST
from labelwright.decisions.structured import structured
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import fit_calibration
from labelwright.statistics.intervals import Resampled, resample
from labelwright.statistics.metrics import Floats, Ints
from workbench.compare.measure import BaselineJob, out_of_fold
from workbench.progress import silence_libraries
from workbench.wording import parts

WORDS = ("top up", "transfer", "cash", "exchange", "refund", "pin", "identity", "card", "payment")
NAMES = ("sgd-ngrams", "local-ngrams", "minilm-logreg", "local-minilm")
# Whom each is held against, in its second half of columns.
FLAT = {"local-ngrams": "sgd-ngrams", "local-minilm": "minilm-logreg"}
N_FOLDS = 3
_SMALLEST = 1e-6
_SHOWN = ("right_at_2", "right_at_1", "hierarchical_f1")
_LEVEL_BY_LEVEL = ("level_by_level_at_2", "level_by_level_at_1", "level_by_level_f1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where the data is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.structured.paths", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, default=DATA, help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=3000, help="so many, drawn; 0: all (default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        rows = read_examples(given.data / "banking77" / "train.jsonl")
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.rows:
        rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: given.rows]]
    rows = [replace(row, label=path(row.label)) for row in rows]
    task = Task(
        "tree", "What is it about?", tuple(map(Label, sorted({row.label for row in rows}))), tree_separator=" > "
    )
    gold = np.array([task.index(row.label) for row in rows])
    assert task.tree is not None
    print(table(task, {name: answered(name, task, rows, gold) for name in NAMES}, gold, group_keys(rows)))
    print(f"\n{len(rows)} rows, {len(task.names)} labels under {len(task.tree.nodes(1))} nodes, {N_FOLDS} folds")
    return 0


def path(label: str) -> str:
    """A label under the first word that its name has.

    >>> path("card_arrival"), path("Age limit")
    ('card > card arrival', 'other > age limit')
    """
    name = label.replace("_", " ").strip().lower()
    above = next((word for word in WORDS if f" {word} " in f" {name} "), "other")
    return f"{above} > {name}"


def answered(name: str, task: Task, rows: Sequence[Example], gold: Ints) -> Floats:
    """A candidate's out-of-fold probabilities, (n_rows, n_labels), with one temperature."""
    probs = out_of_fold(BaselineJob(name, task, {}, 0, "head"), Splits(tuple(rows), (), (), ()), N_FOLDS)
    scores = np.log(np.maximum(probs, _SMALLEST))
    return fit_calibration(scores, gold, bias=False).apply(scores)


def table(task: Task, answers: Mapping[str, Floats], gold: Ints, groups: Sequence[str]) -> str:
    """Markdown: each candidate as it answers and level by level; the difference of that, and of local to flat."""
    found = {name: structured(task, LIKELIEST, probs, gold)[0] for name, probs in answers.items()}
    metrics = next(iter(found.values())).metrics
    samples = resample({name: one.answers for name, one in found.items()}, gold, groups, metrics=metrics)
    titles = [metrics[key].title for key in _SHOWN]
    lines = ["| | " + " | ".join(cell for title in titles for cell in (title, "points more")) + " |"]
    lines.append("|" + "---|" * (1 + 2 * len(titles)))
    for name in answers:
        flat = FLAT.get(name, "")
        against = {key: samples[flat][key] if flat in samples else None for key in _SHOWN}
        told = f"{name}, than {flat}" if flat in samples else name
        lines.append(_line(told, [(samples[name][key], against[key]) for key in _SHOWN]))
        pairs = zip(_LEVEL_BY_LEVEL, _SHOWN, strict=True)
        both = [(samples[name][down], samples[name][key]) for down, key in pairs]
        lines.append(_line(f"{name} level by level, than as it answers", both))
    return "\n".join(lines)


def _line(name: str, cells: Sequence[tuple[Resampled, Resampled | None]]) -> str:
    shown = [name]
    for value, against in cells:
        shown.append(" ".join(parts(value.interval())))
        shown.append(" ".join(parts(value.minus(against).interval(), signed=True)) if against else "")
    return "| " + " | ".join(shown) + " |"


if __name__ == "__main__":
    sys.exit(main())
