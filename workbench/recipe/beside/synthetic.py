"""The rows of `make synthesize`, which a model wrote: train rows of ``synthetic-NAME`` candidates, and of nobody else.

Whatever the file has come to hold since it was written, nothing that is nearly a row of dev, calib or test is learnt,
and nothing whose question showed what is one now: with another seed or more data, splits are dealt anew, and what was a
train row then may be a test row. A row and the row that it was written after are of one group: what is chosen by folds
of train does not part them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labelwright.data.records import Fault, Row, listed, optional_text, read_rows, refusal, text_of
from labelwright.data.task import Example, normalise
from labelwright.errors import DataError, RecipeError
from labelwright.files import short_hash
from labelwright.plain_text import shell_word
from workbench.recipe.beside.near_copies import NearCopies
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RUNS

# Columns of a row besides its text and label, which are called as here whatever the recipe calls its own.
SEED, SEED_TEXT, MODEL, CHECKED_BY = "seed", "seed_text", "model", "checked_by"
# Texts of other labels that the question showed, one a line: a table of cells can hold that as well.
SHOWN = "shown"
# Why a row is not learnt, in the order of the words that say it.
LEFT_OUT = {
    "measured": "nearly a row of dev, calib or test, or written after one",
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


def written_to(name: str) -> Path:
    """Where `make synthesize` writes the rows of a recipe of this name: there, and nowhere else."""
    return RUNS / name / "synthetic.jsonl"


def place_of(recipe: Recipe) -> Path:
    """The file whose rows are learnt: the recipe's own choice, or what was written."""
    return Path(recipe.synthetic.path) if recipe.synthetic.path else written_to(recipe.name)


def check_synthetic(recipe: Recipe) -> None:
    """Refuse candidates whose rows are not there, before anything is trained."""
    if not recipe.synthetic.candidates or place_of(recipe).is_file():
        return
    if recipe.synthetic.path:
        raise RecipeError(
            f"{recipe.path}, [synthetic]: path = {recipe.synthetic.path!r}: no such file; expected rows that "
            f'[synthetic] candidates learn, or "" for those that make synthesize wrote to {written_to(recipe.name)}'
        )
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
    origins = _Origins(taught, measured, known["measured"])
    left_out, kept, faults = dict.fromkeys(LEFT_OUT, 0), [], list(faults)
    models: dict[str, int] = {}  # in the order in which they come
    n_checked = 0
    for row in rows:
        try:
            found = _read(row, names)
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            continue
        said = {one: optional_text(_blank(row), one, one) for one in (SEED, SEED_TEXT, SHOWN, MODEL, CHECKED_BY)}
        why = "measured" if origins.are_measured(said) else ""
        why = why or next((name for name, copies in known.items() if copies.find(found.text) is not None), "")
        if why:
            left_out[why] += 1
            continue
        known["repeated"].add(found.text)
        kept.append(replace(found, group=origins.group(said, row.number)))
        models[said[MODEL] or "nobody says who"] = 1
        n_checked += bool(said[CHECKED_BY])
    if faults:
        raise refusal(str(path), faults)
    if not kept:
        told = ", ".join(f"{left_out[why]:,} {words}" for why, words in LEFT_OUT.items() if left_out[why])
        raise DataError(f"{path}: none of its {len(rows)} rows can be learnt" + (f"; left out: {told}" if told else ""))
    return Synthetic(str(path), tuple(kept), left_out, tuple(models), n_checked)


class _Origins:
    """The real rows that a question showed, looked for among today's rows.

    By their texts where a row has them: an id may be a row's number, and another row's by now.
    """

    def __init__(self, taught: Sequence[Example], measured: Sequence[Example], copies: NearCopies) -> None:
        self._copies, self._looked_up = copies, dict[str, bool]()
        self._ids = {row.id: _group_of(row) for row in taught}
        self._texts = {normalise(row.text): _group_of(row) for row in taught}
        self._measured_ids = {row.id for row in measured}

    def are_measured(self, said: Mapping[str, str]) -> bool:
        """Whether one of them is nearly a row of dev, calib or test. A train row is none, whatever it is like."""
        if not said[SEED_TEXT] and said[SEED] in self._measured_ids and said[SEED] not in self._ids:
            return True
        return any(self._is_measured(text) for text in (said[SEED_TEXT], *said[SHOWN].splitlines()) if text)

    def group(self, said: Mapping[str, str], number: int) -> str:
        """The group of the seed row; rows of a seed that is no train row have one of their own together."""
        if not said[SEED_TEXT]:
            return self._ids.get(said[SEED], f"synthetic of {said[SEED] or number}")
        text = normalise(said[SEED_TEXT])
        return self._texts.get(text, f"synthetic of {short_hash(text)}")

    def _is_measured(self, text: str) -> bool:
        if text not in self._looked_up:
            self._looked_up[text] = normalise(text) not in self._texts and self._copies.find(text) is not None
        return self._looked_up[text]


def _read(row: Row, names: Sequence[str]) -> Example:
    text, label = (text_of(row.record, column, column) for column in ("text", "label"))
    if label not in names:
        raise DataError(f"label {label!r} is not one of the task's {len(names)} labels, {listed(map(repr, names), 8)}")
    return Example(f"synthetic:{row.number}", text, label)


def _blank(row: Row) -> dict[str, Any]:
    """The record, with what it lacks as empty: whoever writes rows by hand need not say who did."""
    return dict.fromkeys((SEED, SEED_TEXT, SHOWN, MODEL, CHECKED_BY), "") | dict(row.record)


def _group_of(row: Example) -> str:
    """A train row's group; one that it has for itself where the data gives none."""
    return f"written after {row.id}" if row.group is None else row.group
