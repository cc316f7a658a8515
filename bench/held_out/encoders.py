"""`python -m bench.held_out.encoders`: what a static model made of MiniLM is worth beside it, and beside n-grams.

Each candidate of the comparison answers every row out of fold, folds of whole families: the recipe's train and dev
rows, or with ``--data`` rows of a file such as Banking77's train file. Then it is trained on all of them and asked one
row at a time. A test file is not read, and nothing is chosen here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelwright.data.task import Example, Label, Splits, Task, group_keys, read_examples
from labelwright.errors import LabelwrightError
from labelwright.statistics.metrics import Floats
from labelwright.statistics.proportions import difference_interval, share_interval
from workbench.compare.measure import BaselineJob, one_by_one, out_of_fold, train_baseline
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.wording import milliseconds, parts, percent

# The last is what the others are held against.
NAMES = ("sgd-ngrams", "sgd-chars", "static-logreg", "minilm-logreg")
N_FOLDS = 5
TIMED_ROWS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.held_out.encoders", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--data", type=Path, help="a file with text and label, in place of the recipe's rows")
    parser.add_argument("--rows", type=int, default=0, help="so many rows, drawn; 0: all (default: %(default)s)")
    parser.add_argument("--names", nargs="+", default=NAMES, help="candidates (default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        rows = read_examples(given.data) if given.data else of_recipe(given.recipe)
        if given.rows:
            rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: given.rows]]
        print(table(rows, given.names))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def of_recipe(path: Path) -> list[Example]:
    """A recipe's rows of train and dev."""
    recipe = read_recipe(path)
    splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
    return [*splits.train, *splits.dev]


def table(rows: Sequence[Example], names: Sequence[str]) -> str:
    """Markdown: a line a candidate, right out of fold, against the last one, and what a row takes."""
    task = Task("encoders", "What is it about?", tuple(map(Label, sorted({row.label for row in rows}))))
    gold, groups = np.array([task.index(row.label) for row in rows]), group_keys(rows)
    answers = {name: answered(name, task, rows) for name in names}
    last = answers[names[-1]][0].argmax(axis=1) == gold
    lines = [
        f"| candidate | right % | points to {names[-1]} | log loss | ms/row, p50 | on disk |",
        "|---|---|---|---|---|---|",
    ]
    for name, (probs, ms, n_bytes) in answers.items():
        right = probs.argmax(axis=1) == gold
        loss = -np.log(np.maximum(probs[np.arange(len(gold)), gold], 1e-6)).mean()
        value, ends = parts(difference_interval(right.astype(int) - last, groups), signed=True)
        against = "–" if name == names[-1] else f"{value} {ends}"
        cells = [name, percent(share_interval(right, groups)), against, f"{loss:.2f}", milliseconds(ms)]
        lines.append(f"| {' | '.join(cells)} | {n_bytes / 1e6:.1f} MB |")
    return "\n".join([*lines, "", f"{len(rows)} rows, {N_FOLDS} folds; 95 % intervals, differences paired."])


def answered(name: str, task: Task, rows: Sequence[Example]) -> tuple[Floats, float, int]:
    """Of one candidate: out-of-fold probabilities (n_rows, n_labels), milliseconds of a row alone, bytes on disk."""
    job, splits = BaselineJob(name, task, {}, 0, "head"), Splits(tuple(rows), tuple(rows), (), ())
    probs = out_of_fold(job, splits, N_FOLDS)
    with tempfile.TemporaryDirectory() as scratch:
        trained = train_baseline(job, splits, Path(scratch))
        times, _ = one_by_one(trained, [row.text for row in rows[:TIMED_ROWS]], min(TIMED_ROWS, len(rows)))
    print(f"{name} is measured", file=sys.stderr, flush=True)
    return probs, times["ms_p50"], trained.size_bytes or 0


if __name__ == "__main__":
    sys.exit(main())
