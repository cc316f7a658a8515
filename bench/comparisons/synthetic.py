"""`python -m bench.comparisons.synthetic --url URL --model NAME`: what rows of a larger model bring to few real ones.

Only train rows of a recipe are used. Of every label a few families are drawn, a row of each: the labelled rows, which
are train, dev and calib. All rows of the other families are what is measured on, so the recipe's own test split is not
touched. The house does the rest: `make synthesize` has the model write and check rows after the labelled ones, `make
compare` learns them. The same comparison with the labels' names in place of the rows, one a label, is the control: a
model's rows nearly all hold the name. Every draw is paired; intervals are over the held rows of all draws.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.comparisons.compared import NOTHING_BESIDE, compared, deal, right_on_test, workbench_in, write_rows
from labelwright.data.task import group_keys
from labelwright.errors import LabelwrightError
from labelwright.files import read_json
from labelwright.statistics.intervals import Interval, mean_interval
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows, task_of
from workbench.recipe.stages import SYNTHETIC
from workbench.report.report import Report
from workbench.synthetic.diversity import MEASURES
from workbench.synthetic.telling import DROPPED, FOLDER, SUMMARY
from workbench.wording import percent

NAMES = "names-"
RECIPE = """
seed = {seed}
stages = []
[data]
path = "labelled.jsonl"
test_path = "held.jsonl"
group = "group"
id = "id"
[splits]
dev = 0.25
calib = 0.25
[task]
instructions = {instructions}
labels = {labels}
[baselines]
names = {names}
[synthetic]
model = {model}
url = {url}
candidates = {names}
rows_per_label = {rows}
path = "{path}"
max_calls = {calls}
[compare]
seeds = 1
curves = []
curve_rows = [1, 2, 4, 8, 16, 32]
noise = []
"""


@dataclass(frozen=True)
class Drawn:
    """One draw: the comparison's report, the summary of the synthetic rows, and who was right on which held row.

    Attributes
    ----------
    right : mapping of candidate to bool array (n_held,)
        Those that learnt the labels' names are called ``NAMES`` and the baseline.
    groups : list of str
        Of the held rows.
    """

    report: Report
    summary: Mapping[str, Any]
    right: Mapping[str, Any]
    groups: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0, or 2 where the recipe, the rows or the server is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.comparisons.synthetic", description=(__doc__ or "")[:100])
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--url", required=True, help="an OpenAI-compatible server")
    parser.add_argument("--model", required=True, help="the name under which it has the model")
    parser.add_argument("--real", type=int, default=4, help="train rows a label (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=8, help="synthetic rows a label that are asked for")
    parser.add_argument("--calls", type=int, default=2000, help="questions of a draw at most (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=2, help="draws of the real rows (default: %(default)s)")
    parser.add_argument("--candidates", nargs="+", default=["sgd-chars", "minilm-logreg"])
    parser.add_argument("--folder", type=Path, help="where answers and results are kept; by default nowhere")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            root = (given.folder or Path(scratch)).absolute()
            drawn = [one_draw(root / str(seed), given, seed) for seed in range(given.draws)]
            print(made_table(drawn), end="\n\n")
            print(accuracy_table(drawn, given.candidates))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def one_draw(folder: Path, given: argparse.Namespace, seed: int) -> Drawn:
    """Rows drawn, synthetic rows made and the comparison done, as far as that is not there."""
    recipe = read_recipe(given.recipe)
    rows = read_rows(recipe)
    labelled, held = deal(make_splits(rows, recipe.splits, recipe.seed).train, 2 * given.real, seed)
    for name, some in (("labelled", labelled), ("held", held)):
        records = [{"id": row.id, "text": row.text, "label": row.label, "group": row.group} for row in some]
        write_rows(folder / f"{name}.jsonl", records)
    said = {
        "instructions": recipe.task.instructions, "labels": [*task_of(recipe, rows).names],
        "names": given.candidates, "model": given.model, "url": given.url,
    }  # fmt: skip
    words = {key: json.dumps(value, ensure_ascii=False) for key, value in said.items()}
    write_rows(folder / "names.jsonl", ({"text": name, "label": name} for name in task_of(recipe, rows).names))
    for name, path in (("few", ""), ("names", "names.jsonl")):
        filled = RECIPE.format(seed=seed, rows=given.rows, calls=given.calls, path=path, **words)
        (folder / f"{name}.toml").write_text(filled + NOTHING_BESIDE, encoding="utf-8")
    kept = folder / "runs" / "few" / FOLDER / SUMMARY
    if not kept.is_file() and workbench_in(folder, "synthesize", "few.toml"):
        raise LabelwrightError("no synthetic rows, as said above")
    report, run = compared(folder, "few")
    right = right_on_test(run, held, report)
    control, run = compared(folder, "names")
    named = {
        name.replace(SYNTHETIC, NAMES): one
        for name, one in right_on_test(run, held, control).items()
        if name.startswith(SYNTHETIC)
    }
    return Drawn(report, read_json(kept), right | named, group_keys(held))


def made_table(drawn: Sequence[Drawn]) -> str:
    """Markdown: what became of what was written, and how different it is, a draw a column."""
    head = ["", *(f"draw {n}" for n in range(len(drawn)))]
    rows = [["rows written", *(f"{one.summary['written']}" for one in drawn)]]
    for kind, words in (("lists", "lists of rows"), ("labels", "second answers")):
        for key, what in (("n_answered", ""), ("n_repaired", ", mended"), ("n_unread", ", unreadable")):
            rows.append([words + what, *(f"{one.summary[kind][key]}" for one in drawn)])
    rows += [[f"dropped: {words}", *(_share(one.summary, why) for one in drawn)] for why, words in DROPPED.items()]
    rows.append(["kept", *(f"{one.summary['rows']}" for one in drawn)])
    for key, words in MEASURES.items():
        both = [one.summary["diversity"] for one in drawn]
        rows.append([f"{words}: written / real", *(f"{b['written'][key]:.3g} / {b['real'][key]:.3g}" for b in both)])
    rows.append(["tokens read / written", *("{read:,} / {written:,}".format(**one.summary["tokens"]) for one in drawn)])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(summary: Mapping[str, Any], why: str) -> str:
    n, of = summary["dropped"][why], summary["written"]
    return f"{n} ({100 * n / of:.0f} %)"


def accuracy_table(drawn: Sequence[Drawn], candidates: Sequence[str]) -> str:
    """Markdown: accuracy by synthetic rows a label, and what all of them, or the labels' names, bring over none."""
    curves = [point for one in drawn for entry in one.report.scored if entry.augmented for point in entry.curve]
    sizes = sorted({point.per_label for point in curves} - {0})
    head = ["candidate", "draw", "none", *map(str, sizes), "all", "all minus none", "names minus none"]
    lines = [head, ["---"] * len(head)]
    for name in candidates:
        for number, one in enumerate(drawn):
            entry = next(e for e in one.report.scored if e.name == f"{SYNTHETIC}{name}")
            assert entry.augmented is not None
            points = {p.per_label: p.accuracy for p in entry.curve}
            cells = [f"{100 * points[n]:.1f}" if n in points else "–" for n in (*sizes, 0)]
            without = f"{100 * np.mean(entry.augmented.learnt.without):.1f}"
            lines.append([name, str(number), without, *cells, *_gains([one], name)])
        lines.append([f"**{name}**", "all", *[""] * (2 + len(sizes)), *_gains(drawn, name)])
    sides, held = drawn[0].report.splits, drawn[0].report.test_rows.n_rows
    told = f"{sides.train} train, {sides.dev} dev, {sides.calib} calib rows and {held} held rows in draw 0; the "
    told += "differences are of calibrated accuracy in points, paired, with 95 % intervals"
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{told}"


def _gains(drawn: Sequence[Drawn], name: str) -> list[str]:
    return [percent(difference(drawn, f"{kind}{name}", name)) for kind in (SYNTHETIC, NAMES)]


def difference(drawn: Sequence[Drawn], candidate: str, other: str) -> Interval:
    """Accuracy of one candidate minus that of another, over the held rows of all draws; families drawn whole."""
    gains = [one.right[candidate].astype(float) - one.right[other] for one in drawn]
    return mean_interval(np.concatenate(gains), [key for one in drawn for key in one.groups])


if __name__ == "__main__":
    sys.exit(main())
