"""`python -m bench.questions.several`: messages about one or two things, made of rows about one, and who tells which.

Rows of one label each (the ones that ship; with ``--data`` another file) are joined, two families at a time, so that no
text is in messages of two families; six of ten messages ask about both. The comparison of a recipe then measures small
classifiers, one against the rest for every label, with what labels are said from fitted on calib. Such messages are
longer and their parts are more alike than people's; what candidates are worth beside each other is what this shows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from labelwright.data.task import Example, group_keys, read_examples
from labelwright.errors import LabelwrightError
from workbench.api import Run
from workbench.progress import silence_libraries
from workbench.report.markdown import markdown_table, verdict_markdown
from workbench.report.tables.joint import rows, said_from, sets

SHIPPED = Path("data/homeowner/homeowner.jsonl")
NAMES = ("sgd-ngrams", "minilm-logreg")
BOTH = 0.6
RECIPE = """stages = []
seed = {seed}
[data]
path = "{path}"
label = "labels"
group = "group"
id = "id"
[task]
kind = "labels"
instructions = "Which of these is the message about? It may be several."
labels = {labels}
[models]
candidates = {models}
[baselines]
names = {names}
[calibrate]
maximise = "{maximise}"
[compare]
seeds = 1
curves = []
noise = []
[tracking]
uri = "sqlite:///{store}"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write rows and recipe, compare, print the tables; 0, or 2 where data or recipe are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.questions.several", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("out", type=Path, help="a folder for rows, recipe and run")
    parser.add_argument("--data", type=Path, default=SHIPPED, help="rows of one label each (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=0, help="so many of these, drawn; 0: all (default: %(default)s)")
    parser.add_argument("--maximise", default="micro_f1", help="[calibrate] maximise (default: %(default)s)")
    parser.add_argument("--names", nargs="+", default=NAMES, help="candidates (default: %(default)s)")
    parser.add_argument("--models", nargs="*", default=(), help="tunings of SmolLM2 beside them (default: none)")
    parser.add_argument("--seed", type=int, default=0, help="of joining and dealing (default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        single = read_examples(given.data, group="group" if given.data == SHIPPED else None)
        names, models = given.names, given.models
        print(measured(written(single, given.out, given.rows, names, given.maximise, given.seed, models)))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def joined(single: Sequence[Example], seed: int) -> list[dict[str, object]]:
    """Messages of one or two rows, as records of a file; each row is in one message at most.

    Families (``group``) are paired, and the k-th row of one meets the k-th of the other.
    """
    families: dict[str, list[Example]] = {}
    for row, name in zip(single, group_keys(single), strict=True):
        families.setdefault(name, []).append(row)
    names, chance = sorted(families), random.Random(seed)
    chance.shuffle(names)
    found: list[dict[str, object]] = []
    for number, (first, second) in enumerate(zip(names[::2], names[1::2], strict=False)):
        for k, (one, other) in enumerate(zip(families[first], families[second], strict=False)):
            both = chance.random() < BOTH
            text = f"{one.text} {other.text}" if both else one.text
            labels = sorted({one.label, other.label} if both else {one.label})
            found.append({"id": f"{number}-{k}", "group": f"pair {number}", "text": text, "labels": labels})
    chance.shuffle(found)
    return found


def written(
    single: Sequence[Example],
    out: Path,
    n_rows: int,
    names: Sequence[str],
    maximise: str,
    seed: int,
    models: Sequence[str] = (),
) -> Path:
    """The recipe over messages of these rows, both in the folder ``out``; 0 rows are all."""
    if n_rows:
        single = random.Random(seed).sample(list(single), min(n_rows, len(single)))
    messages, labels = joined(single, seed), sorted({row.label for row in single})
    out.mkdir(parents=True, exist_ok=True)
    out = out.absolute()
    # A run is kept under its recipe's name.
    path, recipe = out / "rows.jsonl", out / f"{out.name}.toml"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in messages), encoding="utf-8")
    told = {"path": path, "store": out / "mlflow.db", "labels": json.dumps(labels), "names": json.dumps(list(names))}
    told |= {"models": json.dumps(list(models))}
    recipe.write_text(RECIPE.format(**told, maximise=maximise, seed=seed), encoding="utf-8")
    return recipe


def measured(recipe: Path) -> str:
    """Markdown: the verdict, whole rows, sets of labels, and what labels are said from."""
    report = Run(recipe).compare().report
    shown = [table for make in (rows, sets, said_from) for table in make(report)]
    told = [f"{table.full_title}. {table.about}\n\n{markdown_table(table)}" for table in shown]
    return "\n\n".join([verdict_markdown(report), *told])


if __name__ == "__main__":
    sys.exit(main())
