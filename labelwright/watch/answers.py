"""Answers out of a file, one row at a time, as ``labelwright predict`` writes them: what is watched of each.

Reads any number of rows in the memory of one. A file may have the text, the right label of audited rows and a time
beside the answer; what it lacks is not watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from labelwright.data.columns import ANSWER, TextColumns
from labelwright.data.records import Fault, Row, checked_text, is_missing, listed, no_column, refusal
from labelwright.errors import DataError
from labelwright.plain_text import printable_line

# Rows that do not read are told together, and no file is read to its end to find more.
_MOST_FAULTS = 200
_LONGEST_TIME = 40


class Answer(NamedTuple):
    """What is known of a row.

    Attributes
    ----------
    number : int
        The row's, in its file.
    label : str or None
        Where the bundle abstained the label that it would have said; None where there is no answer at all.
    confidence : float or None
        In [0, 1]; None where the file has none, or there is no answer.
    text : str or None
    gold : str or None
        The right label, of an audited row.
    time : str
        As it is written, fit for a terminal, or empty.
    abstained : bool
    """

    number: int
    label: str | None
    confidence: float | None = None
    text: str | None = None
    gold: str | None = None
    time: str = ""
    abstained: bool = False


class Columns(NamedTuple):
    """Where a file has what; a label column of the input is kept by ``predict`` as ``input_label``.

    Columns of the text are named as the input had them.
    """

    text: TextColumns = TextColumns()
    gold: tuple[str, ...] = ("gold", "input_label")
    time: str = "time"


PREDICTED = Columns()
# Where rows bring their own choices a file's label may be a letter or a number, and answers are the choices themselves.
OF_CHOICES = Columns(gold=("gold",))


def read_answers(
    rows: Iterable[Row | Fault], source: str, columns: Columns = PREDICTED, labels: frozenset[str] | None = None
) -> Iterator[Answer]:
    """The answers in rows, in order.

    Parameters
    ----------
    source : str
        What to call the rows in messages.
    labels : frozenset of str, optional
        What may be answered; None for anything, as where rows bring their own choices.

    Raises
    ------
    DataError
        Behind the last row, or ``_MOST_FAULTS`` of them: the rows that are no answers, or answers of another bundle, or
        whose right label is none of ``labels``, or that have a part of their text's columns.
    """
    faults: list[Fault] = []
    text = columns.text.in_answers()
    # A text in a column "label" is no right label, though it is kept where one would be.
    columns = columns._replace(text=text, gold=tuple(name for name in columns.gold if name not in text.names))
    for row in rows:
        try:
            if isinstance(row, Fault):
                faults.append(row)
            else:
                yield _answer(row, columns, labels)
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
        if len(faults) >= _MOST_FAULTS:
            break
    if faults:
        raise refusal(source, faults)


def _answer(row: Row, columns: Columns, labels: frozenset[str] | None) -> Answer:
    record = row.record
    if "label" not in record:
        raise DataError("no label: expected answers as `labelwright predict --output answers.jsonl` writes them")
    # Who looks for drift wants to see the answers that were not given, too.
    abstained = is_missing(record["label"]) and not is_missing(record.get("suggested"))
    label = _text(record, "suggested" if abstained else "label")
    confidence = None if label is None else _confidence(record.get("confidence"))
    if label is not None and labels is None:
        label = " ".join(checked_text(label, "label").split())
    elif label is not None and labels is not None and label not in labels:
        raise DataError(f"{label[:60]!r} is none of the bundle's labels ({listed(sorted(labels), 3)})")
    gold = _gold(record, columns.gold, labels)
    time = printable_line(_text(record, columns.time) or "")[:_LONGEST_TIME]
    return Answer(row.number, label, confidence, _seen(record, columns, label is not None), gold, time, abstained)


def _seen(record: Mapping[str, Any], columns: Columns, is_answered: bool) -> str | None:
    """The text, where the file has it. A part of it is refused: nobody answered to that; a row without answer may."""
    text = columns.text
    # A right label or a time is added later, and makes a whole text no part of one.
    beside = (ANSWER | {*columns.gold, columns.time}) - {*text.names}
    of_input = {name: cell for name, cell in record.items() if name not in beside}
    missing = text.missing_in(of_input)
    if is_answered and 0 < len(missing) < len(text.names):
        raise DataError(no_column(missing, text.names, of_input, "text"))
    return text.seen(of_input)


def _gold(record: Mapping[str, Any], columns: Sequence[str], labels: frozenset[str] | None) -> str | None:
    """The right label, spaces aside; one that could never be answered would count as a mistake of the bundle's."""
    found = next(((name, said) for name in columns if (said := _text(record, name)) is not None), None)
    if found is None or (labels is not None and found[1] in labels):
        return None if found is None else found[1]
    column, gold = found[0], " ".join(found[1].split())
    if labels is not None and gold not in labels:
        raise DataError(
            f"{column} {gold[:60]!r} is none of the bundle's labels ({listed(sorted(labels), 3)}): correct or empty "
            f"it, or name the column of right labels (--gold-column)"
        )
    return gold


def _text(record: Mapping[str, Any], column: str) -> str | None:
    value = record.get(column)
    return None if is_missing(value) else str(value)


def _confidence(value: Any) -> float | None:
    if is_missing(value):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    # What was rounded on its way may be above 1 by as much.
    if isinstance(value, bool) or not 0 <= found <= 1 + 1e-6:
        raise DataError(f"confidence {str(value)[:40]!r}: expected a probability, 0 to 1")
    return min(found, 1.0)
