"""What people answered to rows in doubt, as a corrected data file and a log of changes; the data itself stays.

The comparison asks (``workbench.tracking``), people answer in MLflow, and here their words become labels. A word that
cannot be used is an error, and then nothing is written: a file that holds some of the corrections would look whole.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.data.formats.dialect import Dialect
from labelwright.data.spelling import label_key
from labelwright.data.task import Example
from labelwright.errors import DataError
from labelwright.files import write_text
from labelwright.plain_text import printable_line
from labelwright.settings import shown
from workbench.compare.details import DoubtedRow
from workbench.recipe.corrected import SAME_AGAIN, write_corrected
from workbench.recipe.rows import as_side
from workbench.recipe.tables.data import DataTable
from workbench.tracking.rows import DECISIONS, DROP, KEEP, OTHER, TAKE
from workbench.wording import plural, shortened

if TYPE_CHECKING:
    from workbench.tracking.answers import Said


# By where they come from, rows with all that is said of each.
Files = Mapping[str, Sequence[tuple[Example, Mapping[str, Any]]]]
# Settings of ``[data]`` that say how files are read, and say nothing of JSON lines.
OF_FILES = (
    "hub", "config", "revision", *(one.name for one in fields(Dialect)), "split", "read_splits", "test_split",
)  # fmt: skip
# What stands behind the name of a corrected file, by the setting that takes it.
_BEHIND = {"path": "", "test_path": "-test", "train_path": "-train"}


@dataclass(frozen=True)
class Change:
    """What a person decided on a row.

    Attributes
    ----------
    new : str, optional
        The row's label from now on; None where the row goes.
    when : str
        ISO 8601, in UTC.
    """

    row: str
    side: str
    old: str
    new: str | None
    who: str
    when: str
    comment: str


def decided(
    rows: Sequence[DoubtedRow], said: Sequence[Sequence[Said]], labels: Sequence[str]
) -> tuple[list[Change], list[DoubtedRow]]:
    """What was decided on the rows, and those on which nothing was said.

    Parameters
    ----------
    said : sequence, of each row what everyone said of it
    labels : sequence of str
        The task's.

    Raises
    ------
    DataError
        Words that are no label, that contradict each other or say nothing, or people who disagree: all of them.
    """
    changes, unanswered = [], []
    faults: dict[str, list[str]] = defaultdict(list)
    for row, words in zip(rows, said, strict=True):
        if not words:
            unanswered.append(row)
            continue
        found = [_meant(row, one, labels) for one in words]
        wrong = next((one for one in found if isinstance(one, _Fault)), None)
        if wrong is None and len(set(found)) > 1:
            wrong = _Fault(f"{shortened([one.who for one in words])} disagree")
        if wrong is not None:
            faults[wrong.what].append(row.id)
            continue
        # Whoever spoke last stands for all who say the same.
        last, new = words[-1], found[-1]
        when = datetime.fromtimestamp(last.at_ms / 1000, UTC).isoformat(timespec="seconds")
        assert not isinstance(new, _Fault)
        changes.append(Change(row.id, row.side, row.label, new, last.who, when, last.comment))
    if faults:
        told = "; ".join(f"{_rows(ids)}: {what}" for what, ids in faults.items())
        raise DataError(f"{told}. Correct these answers in MLflow (make dashboard) and run make review again")
    return changes, unanswered


@dataclass(frozen=True)
class _Fault:
    what: str


def _meant(row: DoubtedRow, said: Said, labels: Sequence[str]) -> str | _Fault | None:
    """The label that a person means, None for a row to be dropped."""
    named: str | None = None
    if said.label:
        try:
            named = label_meant(said.label, labels)
        except DataError as error:
            return _Fault(str(error))
    decision = said.decision or OTHER
    if decision not in DECISIONS:
        return _Fault(f"{shown(said.decision)} is none of the answers that were offered")
    if decision == DROP:
        return None
    if decision == OTHER:
        return named or _Fault("another label is said to be right, and none is named")
    chosen = {KEEP: row.label, TAKE: row.suggested}[decision]
    if named is not None and named != chosen:
        return _Fault(f"it is said that {decision}, and {shown(named)} is named as another")
    return chosen


def label_meant(text: str, labels: Sequence[str]) -> str:
    """The label of that name, however it is written where that leaves no doubt. Raises DataError where none is."""
    alike = [label for label in labels if label_key(label) == label_key(text)]
    if text in labels or len(alike) == 1:
        return text if text in labels else alike[0]
    raise DataError(f"{shown(text)} is no label; expected one of {shortened([shown(one) for one in labels])}")


def write_review(
    changes: Sequence[Change], rows: Sequence[DoubtedRow], table: DataTable, files: Files, name: str, folder: Path
) -> list[tuple[str, Path]]:
    """Write the log of changes, and every file of the data in which a label changes or a row goes, corrected.

    Parameters
    ----------
    rows : sequence of DoubtedRow
        What was asked, to see that the data is still what it was.
    files : mapping of name to sequence of (Example, record)
        As ``workbench.recipe.files.read_records`` gives them.
    name : str
        The recipe's, which the files bear.

    Returns
    -------
    list of (key of ``[data]``, path)
        Where each corrected file lies, and which setting takes it; empty where nothing changes.

    Raises
    ------
    DataError
        Rows that are gone, or have another text or label than was asked about.
    """
    places = _places(files, table)
    asked = {row.id: row for row in rows}
    moved = [one.row for one in changes if not _is_still(asked[one.row], places.get(one.row))]
    if moved:
        raise DataError(
            f"{_rows(moved)}: not there any more as people were asked about them; put the data back as it was, or ask "
            "anew with make compare"
        )
    folder.mkdir(exist_ok=True)
    write_text(folder / f"{name}-changes.jsonl", changes_jsonl(changes))
    changed = {one.row: one.new for one in changes if one.new != one.old}
    if not changed:
        return []
    written = []
    sides = {"path": table.source, "test_path": table.test_source, "train_path": table.train_path}
    for key, source in sides.items():
        new = {places[row][1]: label for row, label in changed.items() if places[row][0] == source}
        # What a split was read from cannot name it any more, so that both sides are written.
        if not new and (key == "train_path" or not (table.test_split and source in files)):
            continue
        kind = Path(source).suffix.lower() if is_plain(table) else ".jsonl"
        target = folder / f"{name}-corrected{_BEHIND[key]}{kind}"
        if is_plain(table):
            write_corrected(Path(source), table.label, new, target)
        else:
            write_text(target, _records([record for _, record in files[source]], table.label, new))
        written.append((key, target))
    return written


def is_plain(table: DataTable) -> bool:
    """Whether the data is files that can be written as they were: each says itself how it is read."""
    kinds = {Path(path).suffix.lower() for path in (table.path, table.test_path, table.train_path) if path}
    told = [one for one in OF_FILES if getattr(table, one) != getattr(DataTable, one)]
    return bool(table.path) and kinds <= set(SAME_AGAIN) and not told and "empty" not in table.leave_out


def summary(changes: Sequence[Change], unanswered: Sequence[DoubtedRow]) -> str:
    """How many rows of each kind, in a sentence."""
    n = Counter(
        "dropped" if one.new is None else "relabelled" if one.new != one.old else "confirmed" for one in changes
    )
    told = [f"{n[kind]} {kind}" for kind in ("confirmed", "relabelled", "dropped")]
    return f"{plural(len(changes) + len(unanswered), 'row')} asked: {', '.join(told)}, {len(unanswered)} unanswered"


Place = tuple[str, int, Example]


def _places(files: Files, table: DataTable) -> dict[str, Place]:
    """Where each row stands: its file, its number in it from 1, and the row."""
    (source, rows), *others = files.items()
    found: dict[str, Place] = {row.id: (source, number, row) for number, (row, _) in enumerate(rows, start=1)}
    for path, given in others:
        marked = as_side("train" if path == table.train_path else "test", [row for row, _ in given], set(found))
        found |= {row.id: (path, number, row) for number, row in enumerate(marked, start=1)}
    return found


def _is_still(asked: DoubtedRow, place: Place | None) -> bool:
    if place is None:
        return False
    return place[2].text == asked.text and label_key(place[2].label) == label_key(asked.label)


def _records(rows: Sequence[Mapping[str, Any]], column: str, new: Mapping[int, str | None]) -> str:
    """Rows with all their columns as JSON lines; what JSON has no type for, as text."""
    lines = []
    for number, row in enumerate(rows, start=1):
        label = new.get(number, row[column])
        if label is not None:
            lines.append(json.dumps({**row, column: label}, ensure_ascii=False, default=str) + "\n")
    return "".join(lines)


def changes_jsonl(changes: Sequence[Change]) -> str:
    """A line a change, for a log."""
    return "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in changes)


def _rows(ids: Sequence[str]) -> str:
    return f"row{'' if len(ids) == 1 else 's'} {printable_line(shortened(ids))}"
