"""The rows of `make synthesize`, which a model wrote: train rows of ``synthetic-NAME`` candidates, and of nobody else.

Whatever the file has come to hold since it was written, nothing that is nearly a row of dev, calib or test is learnt.
A row and the row that it was written after are of one group: what is chosen by folds of train does not part them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labelwright.data.records import Fault, Row, listed, optional_text, read_rows, refusal, text_of
from labelwright.data.task import Example
from labelwright.errors import DataError, RecipeError
from labelwright.plain_text import shell_word
from workbench.recipe.beside.near_copies import NearCopies
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RUNS

# Columns of a row besides its text and label, which are called as here whatever the recipe calls its own.
SEED, MODEL, CHECKED_BY = "seed", "model", "checked_by"
# Why a row is not learnt, in the order of the words that say it.
LEFT_OUT = {
    "measured": "nearly a row of dev, calib or test",
    "taught": "nearly a train row",
    "repeated": "nearly another synthetic row",
}


@dataclass(frozen=True)
class Synthetic:
    """Rows that may be learnt.

    Attributes
    ----------
    left_out : mapping of str to int
        Other rows of the file, by the keys of ``LEFT_OUT``.
    models : tuple of str
        Who wrote them.
    n_checked : int
        Rows whose label a second answer gave as well.
    """

    source: str
    rows: tuple[Example, ...]
    left_out: Mapping[str, int]
    models: tuple[str, ...]
    n_checked: int

    def taught_with(self, train: Sequence[Example], rows: Sequence[Example]) -> tuple[Example, ...]:
        """Train rows and some of these, each in the group of its seed row."""
        seeds = {row.group for row in rows}
        grouped = [replace(row, group=_group_of(row)) if _group_of(row) in seeds else row for row in train]
        return (*grouped, *rows)


def place_of(recipe: Recipe) -> Path:
    """Where a recipe's synthetic rows are."""
    return Path(recipe.synthetic.path) if recipe.synthetic.path else RUNS / recipe.name / "synthetic.jsonl"


def check_synthetic(recipe: Recipe) -> None:
    """Refuse candidates whose rows are not there, before anything is trained."""
    if recipe.synthetic.candidates and not place_of(recipe).is_file():
        raise RecipeError(
            f"{place_of(recipe)}: no synthetic rows yet, which [synthetic] candidates learn: "
            f"make synthesize RECIPE={shell_word(str(recipe.path))} writes them"
        )


def read_synthetic(
    recipe: Recipe, names: Sequence[str], taught: Sequence[Example], measured: Sequence[Example]
) -> Synthetic:
    """The rows that may be learnt beside train rows.

    Parameters
    ----------
    names : sequence of str
        The task's labels.
    taught, measured : sequence of Example
        Train rows; and all that numbers or choices come from.

    Raises
    ------
    DataError
        Rows without text, of other labels; all of them in one message.
    """
    check_synthetic(recipe)
    path = place_of(recipe)
    rows, faults = read_rows(path)
    share = recipe.synthetic.near_copy
    known = {
        "measured": NearCopies((row.text for row in measured), share),
        "taught": NearCopies((row.text for row in taught), share),
        "repeated": NearCopies((), share),
    }
    groups = {row.id: _group_of(row) for row in taught}
    left_out, kept, faults = dict.fromkeys(LEFT_OUT, 0), [], list(faults)
    models: dict[str, int] = {}
    n_checked = 0
    for row in rows:
        try:
            found = _read(row, names)
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            continue
        why = next((name for name, copies in known.items() if copies.find(found.text) is not None), "")
        if why:
            left_out[why] += 1
            continue
        known["repeated"].add(found.text)
        seed, model, checked = (optional_text(_blank(row), one, one) for one in (SEED, MODEL, CHECKED_BY))
        kept.append(replace(found, group=groups.get(seed, f"synthetic of {seed or row.number}")))
        models[model or "nobody says who"] = models.get(model, 0) + 1
        n_checked += bool(checked)
    if faults:
        raise refusal(str(path), faults)
    if not kept:
        told = ", ".join(f"{left_out[why]:,} {words}" for why, words in LEFT_OUT.items() if left_out[why])
        raise DataError(f"{path}: none of its {len(rows)} rows can be learnt" + (f"; left out: {told}" if told else ""))
    return Synthetic(str(path), tuple(kept), left_out, tuple(models), n_checked)


def _read(row: Row, names: Sequence[str]) -> Example:
    text, label = (text_of(row.record, column, column) for column in ("text", "label"))
    if label not in names:
        raise DataError(f"label {label!r} is not one of the task's {len(names)} labels, {listed(map(repr, names), 8)}")
    return Example(f"synthetic:{row.number}", text, label)


def _blank(row: Row) -> dict[str, Any]:
    """The record, with what it lacks as empty: whoever writes rows by hand need not say who did."""
    return dict.fromkeys((SEED, MODEL, CHECKED_BY), "") | dict(row.record)


def _group_of(row: Example) -> str:
    """A train row's group; one that it has for itself where the data gives none."""
    return f"written after {row.id}" if row.group is None else row.group
