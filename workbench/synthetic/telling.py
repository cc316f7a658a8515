"""What is said of synthetic rows when they are made: what was dropped, what it took, how different they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from labelwright.data.task import Example
from labelwright.files import write_json
from labelwright.plain_text import printable_line
from programs.asking import Answers, Readings
from workbench.progress import Display
from workbench.recipe.beside.synthetic import LEFT_OUT, place_of, written_to
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RUNS
from workbench.synthetic.diversity import MEASURES, side_by_side
from workbench.synthetic.orders import Vectors
from workbench.verbs import make_command
from workbench.wording import plural

FOLDER = "synthetic"
SUMMARY = "summary.json"

# Why a written row is not kept, in the order in which it is looked at, with the words that say it.
DROPPED = {
    "unusable": "empty, too long or not printable",
    **LEFT_OUT,
    "unanswered": "without a second answer that names a label",
    "disagreed": "with another label in the second answer",
}


@dataclass
class Made:
    """What came of it.

    Attributes
    ----------
    rows : list of dict
        As the file has them.
    n_written : int
        Texts that the model wrote; those of ``dropped`` are not among the rows.
    rows_read, labels_read : Readings
        How its answers could be read: lists of rows, and labels.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    n_written: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DROPPED, 0))
    rows_read: Readings = field(default_factory=Readings)
    labels_read: Readings = field(default_factory=Readings)

    def n_of(self, label: str) -> int:
        """Rows of a label."""
        return sum(row["label"] == label for row in self.rows)


def spent_in_words(answers: Answers) -> str:
    """Answers, tokens and dollars."""
    spent = answers.spent
    price = "price unknown" if spent.price is None else f"${spent.price:.4f}"
    refused = f", {answers.n_refused} refused" if answers.n_refused else ""
    return (
        f"{plural(answers.n_used, 'answer')}, {answers.n_new} of them asked for now{refused}; "
        f"{spent.n_in:,} tokens read, {spent.n_out:,} written, {price}"
    )


def fate(made: Made) -> str:
    """What of the written rows was dropped, and how the answers could be read."""
    parts = [f"{made.dropped[why]} {words}" for why, words in DROPPED.items() if made.dropped[why]]
    read = made.rows_read
    if read.n_repaired or read.n_unread:
        parts.append(f"of {plural(read.n_answered, 'list')} {read.n_repaired} mended and {read.n_unread} unreadable")
    read = made.labels_read
    if read.n_repaired or read.n_unread:
        parts.append(f"of {plural(read.n_answered, 'label')} {read.n_repaired} mended and {read.n_unread} unreadable")
    return "dropped: " + (", ".join(parts) or "none")


def _why_fewer(made: Made, answers: Answers) -> str:
    refused = [f"{plural(answers.n_refused, 'question')} were refused"] if answers.n_refused else []
    lost = any(made.dropped.values()) or made.rows_read.n_unread
    return " and ".join([*(["too much was dropped"] if lost or not refused else []), *refused])


def tell(
    made: Made, answers: Answers, recipe: Recipe, train: Sequence[Example], vectors: Vectors, display: Display
) -> None:
    """What was made, how different it is, and what is next; the same goes into the summary beside the answers."""
    table, place = recipe.synthetic, written_to(recipe.name)
    names = dict.fromkeys(example.label for example in train)
    display.say(f"{plural(len(made.rows), 'row')} of {made.n_written} written are kept: {place}")
    display.say(f"  {fate(made)}")
    lacking = [name for name in names if made.n_of(name) < table.rows_per_label]
    if lacking:
        why = f"max_calls = {table.max_calls} is reached" if answers.is_full else _why_fewer(made, answers)
        few = ", ".join(f"{printable_line(name)} {made.n_of(name)}" for name in lacking[:8])
        display.say(f"  fewer than {table.rows_per_label} rows for {plural(len(lacking), 'label')} ({few}): {why}")
    written, real = defaultdict(list), defaultdict(list)
    for row in made.rows:
        written[row["label"]].append(row["text"])
    for example in train:
        real[example.label].append(example.text)
    mine, theirs = side_by_side(written, real, vectors, table.near_copy, recipe.seed)
    for name, words in MEASURES.items() if mine else ():
        display.say(f"  {words}: {mine[name]:.3g}, of as many real rows {theirs[name]:.3g}")
    spent = answers.spent
    summary = {
        "rows": len(made.rows), "written": made.n_written, "dropped": made.dropped,
        "lists": vars(made.rows_read), "labels": vars(made.labels_read),
        "refused": answers.n_refused, "answers": answers.n_used,
        "tokens": {"read": spent.n_in, "written": spent.n_out}, "price": spent.price,
        "diversity": {"written": mine, "real": theirs},
    }  # fmt: skip
    write_json(RUNS / recipe.name / FOLDER / SUMMARY, summary)
    if not table.candidates:
        display.say(f'to learn them, set in {recipe.path}, [synthetic]: candidates = ["sgd-chars"], say')
    if place_of(recipe).resolve() != place.resolve():
        display.say(f"candidates learn {place_of(recipe)}, as [synthetic] path says, and none of these")
    display.say(f"next: {make_command('compare', recipe)}")
