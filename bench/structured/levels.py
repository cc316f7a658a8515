"""`python -m bench.structured.levels`: is it worth knowing that levels are in order?

No file of ratings is at hand, so the levels are made: a message is one to four requests of SNIPS' train file in one
text, and its level is how many. Every request stands in one message. That is an order for certain, and it is easier
than an opinion: longer texts hold more. Candidates answer out of fold, with one temperature each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.decisions.next_rows import DATA
from labelwright.data.asked.questions import Question
from labelwright.data.costs import Costs, pairs_of
from labelwright.data.task import Example, Label, Splits, Task, read_examples
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.structured import structured
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import fit_calibration
from labelwright.statistics.intervals import resample
from labelwright.statistics.metrics import Floats, Ints
from labelwright.statistics.ordered import ORDERED
from labelwright.statistics.proportions import share_interval
from workbench.compare.measure import BaselineJob, out_of_fold
from workbench.progress import silence_libraries
from workbench.wording import parts, percent

LEVELS = ("1", "2", "3", "4")
NAMES = ("sgd-ngrams", "minilm-logreg", "minilm-ordinal")
# Who the others are held against.
ORDINAL = "minilm-ordinal"
N_FOLDS = 3
_SMALLEST = 1e-6


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where the data is at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.structured.levels", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, default=DATA, help="(default: %(default)s)")
    parser.add_argument("--messages", type=int, default=600, help="how many (default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        rows = read_examples(given.data / "snips" / "train.jsonl")
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    messages = joined(rows, given.messages)
    task = Task.asking("levels", "How many requests?", [Question("n", "score", tuple(map(Label, LEVELS)))])
    gold = np.array([task.index(row.label) for row in messages])
    print(table(task, {name: answered(name, task, messages, gold) for name in NAMES}, gold))
    print(f"\n{len(messages)} messages, {N_FOLDS} folds")
    return 0


def joined(rows: Sequence[Example], n_messages: int) -> list[Example]:
    """Messages of one to four different rows each, drawn without repeating a row or a text."""
    chance = np.random.default_rng(0)
    different = list({row.text: row for row in rows}.values())
    order, messages = iter(chance.permutation(len(different)).tolist()), list[Example]()
    for number, size in enumerate(chance.integers(1, len(LEVELS) + 1, size=n_messages).tolist()):
        taken = [different[i].text.strip() for i in (next(order, -1) for _ in range(size)) if i >= 0]
        if len(taken) < size:
            break
        messages.append(Example(str(number), " ".join(taken), LEVELS[size - 1]))
    return messages


def answered(name: str, task: Task, rows: Sequence[Example], gold: Ints) -> Floats:
    """A candidate's out-of-fold probabilities, (n_rows, n_levels), with one temperature."""
    probs = out_of_fold(BaselineJob(name, task, {}, 0, "head"), Splits(tuple(rows), (), (), ()), N_FOLDS)
    scores = np.log(np.maximum(probs, _SMALLEST))
    return fit_calibration(scores, gold, bias=False).apply(scores)


def table(task: Task, answers: dict[str, Floats], gold: Ints) -> str:
    """Markdown: each candidate as it answers and as prices by distance decide; differences to the ordinal one."""
    costs = Costs(pairs_of({a: {b: abs(int(a) - int(b)) for b in LEVELS if b != a} for a in LEVELS}))
    found = {}
    for name, probs in answers.items():
        for told, decision in ((name, LIKELIEST), (f"{name}, by distance", Decision.of(costs, task.names))):
            (found[told],) = structured(task, decision, probs, gold)
    samples = resample({name: one.answers for name, one in found.items()}, gold, metrics=ORDERED)
    titles = [cell for metric in ORDERED.values() for cell in (metric.title, f"minus {ORDINAL}'s")]
    lines = ["| | right % | " + " | ".join(titles) + " |", "|" + "---|" * (2 + len(titles))]
    for name, one in found.items():
        cells = [name, percent(share_interval(one.answers.answer == gold))]
        for key in ORDERED:
            cells.append(" ".join(parts(samples[name][key].interval(), is_share=False)))
            difference = samples[name][key].minus(samples[ORDINAL][key]).interval()
            cells.append("" if name == ORDINAL else " ".join(parts(difference, is_share=False, signed=True)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
