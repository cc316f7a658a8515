"""A data file once more, with other labels and without some rows; all else in it stays as it was written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelwright.data.formats.arrow_rows import class_names
from labelwright.data.formats.csv_rows import delimiter_of
from labelwright.data.formats.text_lines import decoded_lines
from labelwright.files import replacing, write_text

# Kinds of files that can be written as they were; what other files, folders and datasets hold is written as JSON lines.
SAME_AGAIN = (".jsonl", ".csv", ".parquet")
# A row's number, from 1 as rows stand in the file, to its new label; None leaves the row out.
Corrections = Mapping[int, str | None]


def write_corrected(source: Path, column: str, new: Corrections, target: Path) -> None:
    """Write ``source`` to ``target`` with other labels in a column; both are JSONL, CSV or Parquet, readable as data.

    Lines of JSONL that are not corrected stay byte for byte, but for the encoding, which is UTF-8 afterwards. A class
    number of ``datasets`` stays one.
    """
    if source.suffix.lower() == ".parquet":
        _parquet(source, column, new, target)
        return
    with source.open("rb") as file:
        lines = list(decoded_lines(file, str(source)))
    write_text(target, (_jsonl if source.suffix.lower() == ".jsonl" else _csv)(lines, column, new))


def _jsonl(lines: list[str], column: str, new: Corrections) -> str:
    kept, number = [], 0
    for line in lines:
        number += bool(line.strip())
        if line.strip() and number in new:
            label = new[number]
            if label is None:
                continue
            record = json.loads(line)
            record[column] = _like(record[column], label)
            line = json.dumps(record, ensure_ascii=False) + "\n"
        kept.append(line)
    return "".join(kept)


def _csv(lines: list[str], column: str, new: Corrections) -> str:
    delimiter = delimiter_of(lines)
    written = io.StringIO()
    # Excel's own first line, which says what parts the cells, is none of the header.
    if lines and lines[0].startswith("sep="):
        written.write(lines.pop(0))
    rows = (cells for cells in csv.reader(lines, delimiter=delimiter, strict=True) if cells)
    out = csv.writer(written, delimiter=delimiter, lineterminator="\n")
    out.writerow(header := next(rows))
    place = header.index(column)
    for number, cells in enumerate(rows, start=1):
        if number in new:
            label = new[number]
            if label is None:
                continue
            cells[place] = label
        out.writerow(cells)
    return written.getvalue()


def _parquet(source: Path, column: str, new: Corrections, target: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = parquet.read_table(source)
    place, field = table.schema.get_field_index(column), table.schema.field(column)
    classes = class_names(table.schema.metadata).get(column)
    values = table.column(column).to_pylist()
    for number, label in new.items():
        if label is not None:
            values[number - 1] = classes.index(label) if classes else _like(values[number - 1], label)
    table = table.set_column(place, field, arrow.array(values, type=field.type))
    kept = [new.get(number, "") is not None for number in range(1, len(values) + 1)]
    with replacing(target) as part:
        parquet.write_table(table.filter(arrow.array(kept)), part)


def _like(old: Any, label: str) -> Any:
    """The label as the column has labels: as a number where the old one is one and the new one can be."""
    if isinstance(old, int) and not isinstance(old, bool) and label.lstrip("-").isdecimal():
        return int(label)
    return label
