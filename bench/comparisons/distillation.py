"""`python -m bench.comparisons.distillation`: what a pool without labels is worth to small students of a larger one.

A few rows a label of Banking77 keep their labels, and are all that train, dev and calib have; the others are the pool,
without theirs. The comparison of the house does the rest: candidates learn train, the ensemble of them teaches, and
students learn what it says of the pool. Printed is each of them on the whole test file, with and without the pool.
With ``--own-texts`` there is no pool, and students learn what the teacher says of train's own texts; with ``--hosted``
a model elsewhere teaches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.comparisons.compared import compared, write_rows
from labelwright.data.task import Example, by_label, read_examples
from labelwright.errors import LabelwrightError
from labelwright.prompt import STYLES
from workbench.compare.board import Entry
from workbench.recipe.stages import learns_soft
from workbench.report.report import Report
from workbench.wording import milliseconds

DATA = Path("../shared/data/banking77")
CANDIDATES = ("sgd-ngrams", "sgd-chars", "minilm-logreg", "minilm-svm")
RECIPE = """
seed = {seed}
stages = []
[data]
path = "labelled.jsonl"
test_path = "test.jsonl"
{pool}
[splits]
dev = 0.15
calib = 0.15
[task]
instructions = "A customer writes a message. What is it about?"
style = "{style}"
[baselines]
names = {names}
[models]
candidates = {tunings}
[compare]
seeds = 1
curves = []
noise = []
[cascade]
most_levels = 0
[distil]
students = {students}
most_rows = {most_rows}
{hosted}
[tracking]
evaluation_rows = 0
review_rows = 0
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where the data is at fault."""
    given = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.folder or Path(scratch)
            write(folder, read_examples(given.data / "train.jsonl"), given.data / "test.jsonl", given.rows, given.seed)
            (folder / "distillation.toml").write_text(recipe_of(given), encoding="utf-8")
            print(table(compared(folder, "distillation")[0]))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.comparisons.distillation", description=(__doc__ or "")[:100])
    parser.add_argument(
        "--data", type=Path, default=DATA, help="a folder with train.jsonl and test.jsonl (%(default)s)"
    )
    parser.add_argument("--rows", type=int, default=10, help="labelled rows a label (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the labelled rows, and deals them")
    parser.add_argument("--candidates", nargs="+", default=CANDIDATES)
    parser.add_argument("--tunings", nargs="+", default=[], help='of SmolLM2, "sft" say; none by default')
    parser.add_argument("--style", choices=STYLES, default="code", help="what these answer with (default: %(default)s)")
    parser.add_argument("--students", nargs="+", default=[], help="of these; by default all baselines that can learn")
    parser.add_argument("--own-texts", action="store_true", help="no pool: of train's own texts")
    parser.add_argument("--most-rows", type=int, default=20_000, help="of the pool (default: %(default)s)")
    parser.add_argument("--hosted", nargs=2, metavar=("MODEL", "URL"), help="who teaches in a candidate's place")
    parser.add_argument("--folder", type=Path, help="where rows and results are kept; by default nowhere")
    return parser


def recipe_of(given: argparse.Namespace) -> str:
    """What is compared, as TOML."""
    hosted = dict(zip(("hosted_model", "hosted_url"), given.hosted or (), strict=False))
    if hosted:
        hosted["hosted_calls"] = 1_000_000  # it is asked about all
    return RECIPE.format(
        seed=given.seed,
        pool="" if given.own_texts else 'unlabelled = "pool.jsonl"',
        style=given.style,
        names=json.dumps([*given.candidates]),
        tunings=json.dumps([*given.tunings]),
        students=json.dumps(given.students or [name for name in given.candidates if learns_soft(name)]),
        most_rows=given.most_rows,
        hosted="\n".join(f"{key} = {json.dumps(value)}" for key, value in hosted.items()),
    )


def write(folder: Path, rows: Sequence[Example], test: Path, per_label: int, seed: int) -> None:
    """Rows with labels, so many a label, the others without, and the test file."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    kept: set[str] = set()
    for _, same in sorted(by_label(rows).items()):
        kept |= {same[i].id for i in chance.permutation(len(same))[:per_label]}
    labelled = [{"text": row.text, "label": row.label} for row in rows if row.id in kept]
    pool = [{"text": row.text} for row in rows if row.id not in kept]
    for name, records in (("labelled", labelled), ("pool", pool)):
        write_rows(folder / f"{name}.jsonl", records)
    (folder / "test.jsonl").write_bytes(test.read_bytes())


def table(report: Report) -> str:
    """Markdown: every candidate; of students how they stand to their teacher and to themselves without the pool."""
    lines = ["| candidate | right on test % | log loss | ms/row | teacher costs | points to it | to no pool |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [_line(entry) for entry in report.scored]
    first = next((entry.lesson for entry in report.scored if entry.lesson), None)
    if first:
        n_rows, sizes = report.test_rows.n_rows, report.splits
        sides = f"{sizes.train} train, {sizes.dev} dev, {sizes.calib} calib and {n_rows} test rows"
        taught = f"{first.learnt.teacher} taught {first.learnt.n_rows:,} texts of {first.learnt.source}"
        if first.learnt.hosted and first.learnt.right:
            taught += ", right on {:.1f} [{:.1f}, {:.1f}] % of dev".format(*(100 * one for one in first.learnt.right))
            taught += f", for {first.learnt.n_in:,} tokens in and {first.learnt.n_out:,} out"
        lines.append(f"\n{sides}; {taught}; intervals are 95 %, differences paired")
    return "\n".join(lines)


def _line(entry: Entry) -> str:
    value, low, high = (100 * one for one in entry.test["accuracy"])
    cells = [entry.name, f"{value:.1f} [{low:.1f}, {high:.1f}]", f"{entry.test['log_loss'].value:.2f}"]
    cells.append(milliseconds(entry.ms))
    if lesson := entry.lesson:
        cells.append("–" if lesson.cost_ratio is None else f"{lesson.cost_ratio:.0f} times")
        for one in (lesson.to_teacher, lesson.to_plain):
            cells.append("–" if one is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * end for end in one)))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
