"""Rows as MLflow's scoring protocol sends them: a table in one of four JSON forms, or CSV; Parquet is read elsewhere.

The forms are those of ``mlflow.pyfunc.scoring_server``, read without mlflow and without a data frame: what comes out is
a list of records, which may be empty. ``labelwright.serve.wires.mlflow`` makes routes of it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from labelwright.data.asked.asking import CHOICES, AskedRow, Asking, asking
from labelwright.data.columns import TEXT, TextColumns
from labelwright.data.records import Fault, listed, refusal
from labelwright.data.task import Task
from labelwright.errors import DataError
from labelwright.pictures.sent import texts_of_sent

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
SOURCE = "the request"
_EXPECTED = f"expected a JSON object with exactly one of {', '.join(FORMS)}, and params if you like"

Record = Mapping[str, Any]


def json_records(given: Any) -> list[Record]:
    """The rows of a JSON body. Raises DataError where it has none of the four forms, or several."""
    forms = [form for form in FORMS if isinstance(given, dict) and form in given]
    if len(forms) != 1:
        has = f"has {', '.join(forms)}" if forms else "has none of them"
        raise DataError(f"the body {has}: {_EXPECTED}")
    value = given[forms[0]]
    if value == {} or (forms[0] == "dataframe_records" and value == []):
        raise DataError(f"{forms[0]} has no columns and no rows: expected at least one row")
    return _split(value) if forms[0] == "dataframe_split" else _rows(value, forms[0])


def csv_records(body: bytes) -> list[Record]:
    """The rows of a CSV body with a header, as ``pandas.DataFrame.to_csv`` writes it; every cell is text as it stands.

    Raises DataError where it is no such thing.
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header, *rows = [line for line in lines if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the body is no CSV in UTF-8 ({error}): expected a header and a line a row") from error
    faults = [Fault(number, f"{len(row)} cells") for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if faults:
        raise refusal(f"{SOURCE} (its header has {len(header)} cells)", faults)
    if not header:
        raise DataError("the body is empty: expected CSV with a header and a line a row")
    return [dict(zip(_once_each(header, "the header"), row, strict=True)) for row in rows]


def columns_to_read(task: Task) -> tuple[str, ...]:
    """Those that rows are made of, of a table that may have any; empty where only all of them say what a row is."""
    names = task.text.names
    # A whole text in ``text`` is told from a part of one by what is beside it.
    images = (task.image_column,) if task.image_column else ()
    return () if TEXT in names and len(names) > 1 else (*names, *images, TEXT, CHOICES)


def read_rows(records: Sequence[Record], task: Task, source: str = SOURCE) -> list[AskedRow]:
    """Each record as it is scored.

    The text is in the columns that the task names, in ``text``, or in the only column that the table has. Where rows
    bring their own choices, a column ``choices`` lists them; without it the text holds them behind letters, and letters
    are answered.

    Raises
    ------
    DataError
        All rows that have no usable text, each with its number.
    """
    read = list(texts_of_sent(records, task.text, task.image_column))
    columns = {name: None for record in read if not isinstance(record, DataError) for name in record}
    text, kind = task.text.of_table(columns), asking(task)
    rows, faults = [], []
    for number, record in enumerate(read, start=1):
        try:
            if isinstance(record, DataError):
                raise record
            rows.append(_row(record, text, kind))
        except DataError as error:
            faults.append(Fault(number, str(error)))
    if faults:
        raise refusal(source, faults)
    return rows


def _row(record: Record, columns: TextColumns, kind: Asking) -> AskedRow:
    if missing := columns.missing_in(record):
        which = f"column{'' if len(missing) == 1 else 's'} {listed(map(repr, missing))}"
        raise DataError(f"no {which} among {sorted(map(str, record))}; put the text to classify there")
    text = columns.need(columns.unwrapped({name: record[name] for name in columns.of_row(record)}))
    return kind.of_table(text, record)


def _split(value: Any) -> list[Record]:
    """Rows of ``pandas.DataFrame.to_dict(orient="split")``."""
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("data"), list)
        or set(value) - {"columns", "index", "data"}
    ):
        raise DataError("dataframe_split: expected an object with data, and columns and index if you like")
    rows = [row if isinstance(row, list) else [row] for row in value["data"]]
    width = max(map(len, rows), default=0)
    columns = value.get("columns") if value.get("columns") is not None else list(range(width))
    if not isinstance(columns, list) or any(len(row) != len(columns) for row in rows):
        raise DataError("dataframe_split: expected every row of data to have one cell a column")
    names = _once_each(list(map(str, columns)), "dataframe_split")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _once_each(names: list[str], where: str) -> list[str]:
    """The names of columns. Raises DataError for one that is there twice."""
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise DataError(f"{where} has the column {repeated[0][:80]!r} twice: keep one")
    return names


def _rows(value: Any, form: str) -> list[Record]:
    """Rows of the other three: records, texts, texts in lists, or one list a column."""
    if isinstance(value, dict) and form != "dataframe_records":
        columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in value.items()}
        if len({len(cells) for cells in columns.values()}) > 1:
            raise DataError(f"{form}: expected every column to have one cell a row")
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    if isinstance(value, str) and form != "dataframe_records":
        value = [value]
    if not isinstance(value, list):
        raise DataError(f"{form}: expected a list of rows")
    rows: list[Record] = []
    for one in value:
        rows.append(one if isinstance(one, dict) else {TEXT: one})
    return rows
