"""A comparison in a folder, as a person would have it made there, and who was right on which row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.data.task import LETTERS, Example, by_label, group_keys
from labelwright.errors import LabelwrightError
from workbench.cli import main as workbench_main
from workbench.report.report import Report, read_report
from workbench.run.folder import RunFolder, runs_of

ROOT = Path(__file__).parents[2]
# The end of a recipe: candidates stand alone, and rows stay out of the tracking store.
NOTHING_BESIDE = """[ensemble]
most_members = 0
[cascade]
most_levels = 0
[tracking]
evaluation_rows = 0
review_rows = 0
"""


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as lines of JSON; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")


def workbench_in(folder: Path, *typed: str) -> int:
    """What a person would type behind ``python -m workbench`` in a folder; the exit status."""
    known = os.environ.get("PYTHONPATH")
    # Candidates run in processes of their own, which begin in that folder.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), known]))
    with chdir(folder):
        return workbench_main([*typed])


def compared(folder: Path, name: str) -> tuple[Report, RunFolder]:
    """The report of the recipe NAME.toml in a folder, made now as far as it is not there, and the run that it is of.

    Raises
    ------
    LabelwrightError
        The comparison failed, and has said why.
    """
    folder = folder.absolute()
    if workbench_in(folder, "compare", f"{name}.toml"):
        raise LabelwrightError("the comparison failed, as said above")
    run = RunFolder(runs_of(folder / "runs" / name)[-1])
    found = read_report(run)
    assert found is not None
    return found, run


def right_on_test(run: RunFolder, rows: Sequence[Example], report: Report) -> dict[str, NDArray[np.bool_]]:
    """Which test rows each candidate has right, from the probabilities that the comparison kept.

    Parameters
    ----------
    rows : sequence of Example
        The test rows, in their order in the file.

    Returns
    -------
    dict of str to bool array (n_rows,)
    """
    names, found = list(report.labels), {}
    gold = np.array([names.index(_label_of(row)) for row in rows])
    for entry in report.scored:
        key = run.state["compare"]["candidates"][entry.name]
        with np.load(run.path.parent / "candidates" / entry.name / f"{key}.npz", allow_pickle=False) as kept:
            found[entry.name] = kept["probs"].argmax(axis=1) == gold
    return found


def _label_of(row: Example) -> str:
    """As a report has it: of a row with choices the letter of its place."""
    return LETTERS[row.choices.index(row.label)] if row.choices else row.label


def deal(rows: Sequence[Example], per_label: int, seed: int) -> tuple[list[Example], list[Example]]:
    """A row of each of so many families a label, and all rows of the families that none was drawn of."""
    chance = np.random.default_rng(seed)
    drawn: list[Example] = []
    for _, same in sorted(by_label(rows).items()):
        families: dict[str, list[Example]] = {}
        for row, key in zip(same, group_keys(same), strict=True):
            families.setdefault(key, []).append(row)
        for key in chance.permutation(sorted(families))[:per_label]:
            drawn.append(families[key][int(chance.integers(len(families[key])))])
    taken = set(group_keys(drawn))
    return drawn, [row for row, key in zip(rows, group_keys(rows), strict=True) if key not in taken]
