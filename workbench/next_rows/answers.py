"""What people filled in: held to what was asked, kept as rows that are taught, and what it says of the classifier.

The answers of all batches are one file, which ``[data] train_path`` names: rows of train, all of them. The dealing of
the other rows stays as it was, so dev, calib and test do. Rows drawn by chance go to train as well: the classifier's
guess was written down before anybody knew the label, so their share of right guesses is measured once and for all, and
the next batch draws others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row, optional_text, refusal
from labelwright.errors import DataError
from labelwright.files import write_text
from labelwright.plain_text import spreadsheet_cell
from labelwright.settings import shown
from labelwright.statistics.proportions import Interval, share_interval
from workbench.next_rows.batch import AskedRow, Batch, own_columns
from workbench.next_rows.pool import text_mark
from workbench.recipe.tables.data import DataTable
from workbench.review import Change, changes_jsonl, label_meant
from workbench.wording import percent, plural


@dataclass(frozen=True)
class Estimate:
    """How often a batch's classifier was right on its rows drawn by chance.

    Attributes
    ----------
    accuracy : Interval or None
        Of those that are answered; None where none is.
    n_answered, n_random : int
    """

    batch: Batch
    accuracy: Interval | None
    n_answered: int
    n_random: int

    @property
    def told(self) -> str:
        """In a sentence."""
        batch = f"batch {self.batch.number} ({self.batch.classifier})"
        if self.accuracy is None:
            return f"{batch}: no row drawn by chance is answered, so nothing is known of its accuracy"
        open_rows = self.n_random - self.n_answered
        but = f"; {open_rows} more are open, and the number holds once they are answered too" if open_rows else ""
        n = plural(self.n_answered, "row")
        return f"{batch}: right on {percent(self.accuracy)} % of {n} of the pool drawn by chance{but}"


def read_answers(
    rows: Iterable[Row | Fault], source: str, batches: Sequence[Batch], columns: Sequence[str], labels: Sequence[str]
) -> dict[str, str]:
    """The label that people gave to each row, by the row's id in the sheet; rows left empty are not in it.

    Parameters
    ----------
    columns : sequence of str
        As the recipe calls them: those of the text, and the label's.
    labels : sequence of str
        Those that may be given.

    Raises
    ------
    DataError
        Rows that cannot be read, ids that were not asked, another text than was asked about, words that are no label,
        two labels for one row: all of them, in one message.
    """
    asked = {row.id: row for batch in batches for row in batch.rows}
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for row in rows:
        try:
            read = row if isinstance(row, Fault) else _answer(row, asked, columns, labels)
        except DataError as error:
            read = Fault(row.number, str(error))
        if isinstance(read, Fault):
            faults.append(read)
        elif read is not None and found.setdefault(*read) != read[1]:
            faults.append(Fault(row.number, f"row {shown(read[0])} has another label above; keep one of them"))
    if faults:
        raise refusal(source, faults)
    return found


def _answer(
    row: Row, asked: Mapping[str, AskedRow], columns: Sequence[str], labels: Sequence[str]
) -> tuple[str, str] | None:
    """A row's id and its label; None where nothing was filled in. Raises DataError with what is wrong."""
    (*names, label), id_column = columns, own_columns(columns)[0]
    for column in (id_column, label):
        if column not in row.record:
            raise DataError(f"no column {column!r}: expected the sheet that make next-rows wrote, filled in")
    said = optional_text(row.record, label, "label")
    if not said:
        return None
    id = optional_text(row.record, id_column, "id")
    if id not in asked:
        raise DataError("its id was not asked; take the row away, or add it to the data yourself")
    text = TextColumns.of(names)
    given = () if text.missing_in(row.record) else text.cells(row.record)
    if any(given) and _text_mark(given) != _text_mark(asked[id].parts(len(names))):
        raise DataError(
            "the text is not the one that was asked about; put it back, or take the column away where only labels count"
        )
    # As labels.csv has them: an apostrophe before what a spreadsheet would take for a formula.
    return id, label_meant(next((one for one in labels if said == spreadsheet_cell(one)), said), labels)


def _text_mark(cells: Sequence[str]) -> int:
    """Of a text by its cells; an apostrophe at the beginning of one may be the sheet's."""
    return text_mark("\n".join(cell.lstrip("'") for cell in cells if cell))


def write_answers(
    given: Mapping[str, str], batches: Sequence[Batch], table: DataTable, path: Path, log: Path, source: str
) -> tuple[int, int]:
    """Put labels with those that are there; how many are new, and how many are other than before.

    Parameters
    ----------
    given : mapping of id to label
    path, log : Path
        The rows for ``train_path``, and every change with its time, one behind the other.
    """
    names, id_column = table.text_columns.names, table.id or _own_id(table)
    asked = {row.id: row for batch in batches for row in batch.rows}
    records = _known_records(path, table)
    known = {id: str(one[table.label]) for id, one in records.items()}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    changes = [
        Change(id, "train", known.get(id, ""), label, "", when, source)
        for id, label in given.items()
        if known.get(id) != label
    ]
    if not changes:
        return 0, 0
    # What is not given stays as it was written: the batch that asked it may be gone.
    for id, label in given.items():
        row = asked[id]
        parts = dict(zip(names, row.parts(len(names)), strict=True))
        records[id] = {id_column: id, **parts, table.label: label, "asked_why": row.why}
        if table.group:
            records[id][table.group] = row.group
    # In ASCII, whatever the recipe says of how its files are encoded.
    lines = [json.dumps(one) + "\n" for one in records.values()]
    # The log first: killed in between, the same command writes the rows, and a change twice in the log harms nobody.
    write_text(log, (log.read_text(encoding="utf-8") if log.is_file() else "") + changes_jsonl(changes))
    write_text(path, "".join(lines))
    n_new = sum(not one.old for one in changes)
    return n_new, len(changes) - n_new


def known_answers(path: Path, table: DataTable) -> dict[str, str]:
    """The labels that ``write_answers`` wrote, by id. Raises DataError where the file is damaged."""
    return {id: str(one[table.label]) for id, one in _known_records(path, table).items()}


def _own_id(table: DataTable) -> str:
    return own_columns([*table.text_columns.names, table.label])[0]


def _known_records(path: Path, table: DataTable) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    id_column = table.id or _own_id(table)
    try:
        records: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(one[id_column]): one | {table.label: str(one[table.label])} for one in records}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not as make next-rows writes it for this recipe ({error!r}); put it back as it was, or move it "
            "away and give the filled sheets again"
        ) from error


def estimate(batch: Batch, answers: Mapping[str, str]) -> Estimate:
    """The accuracy of a batch's classifier, by its rows drawn by chance; a row out of scope counts as wrong."""
    drawn = [row for row in batch.rows if row.why == "random"]
    answered = [row for row in drawn if row.id in answers]
    if not answered:
        return Estimate(batch, None, 0, len(drawn))
    right = [row.guess == answers[row.id] for row in answered]
    groups = [row.group or f"alone {row.id}" for row in answered]
    return Estimate(batch, share_interval(right, groups), len(answered), len(drawn))
