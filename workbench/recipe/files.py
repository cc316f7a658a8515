"""A recipe's ``[data]`` as examples: its files, folder or dataset, read by split. ``rows.py`` checks and deals them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.rows import over_points
from labelwright.data.columns import image_shown, image_text
from labelwright.data.formats.arrow_rows import class_name
from labelwright.data.records import Fault, Row, is_empty, listed
from labelwright.data.sources import Part, chosen, parted_by, parts_of
from labelwright.data.task import Example, examples_from_rows
from labelwright.errors import DataError, MissingExtraError
from labelwright.pictures.rows import with_texts
from workbench.recipe.tables.data import DataTable


class Files(NamedTuple):
    """What was read, by where it comes from: the table's ``source``, ``test_source`` and ``train_path`` where given.

    Attributes
    ----------
    n_empty : dict of str to int
        How many rows have no text or no label and are left out.
    """

    rows: dict[str, list[Example]]
    n_empty: dict[str, int]


def read_files(table: DataTable, asked: Sequence[AskedColumns] = ()) -> Files:
    """The rows of ``path`` or ``hub``, and of the test split where one is given.

    Parameters
    ----------
    asked : sequence of AskedColumns
        Where more is asked than one label of a list: an example for each answer of a row (``over_points``).

    Raises
    ------
    DataError
        Rows that cannot be read or lack text or label, all in one message; splits that there are not.
    """
    read = _read(table, bool(asked), asked)
    rows = {name: [row for row, _ in found] for name, (found, _) in read.items()}
    return Files(rows, {name: n_empty for name, (_, n_empty) in read.items()})


def read_records(table: DataTable) -> dict[str, list[tuple[Example, Mapping[str, Any]]]]:
    """The rows, each with all that the file or dataset says of it, by column. Raises as ``read_files`` does."""
    return {name: found for name, (found, _) in _read(table, all_columns=True).items()}


def _read(
    table: DataTable, all_columns: bool, asked: Sequence[AskedColumns] = ()
) -> dict[str, tuple[list[tuple[Example, Mapping[str, Any]]], int]]:
    """Rows with their records, and how many are left out, by where they come from."""
    parts = source_parts(table, all_columns)
    taught = [part for part in parts if not table.test_split or part.split != table.test_split]
    of = {table.source: taught}
    if table.test_source:
        held = parts_of(table.test_path, table.dialect) if table.test_path else [p for p in parts if p not in taught]
        of[table.test_source] = held
    if table.train_path:
        of[table.train_path] = parts_of(table.train_path)
    found = {name: _examples(table, own, asked) for name, own in of.items()}
    return _renamed(found, table) if table.rename else found


def _renamed(
    found: dict[str, tuple[list[tuple[Example, Mapping[str, Any]]], int]], table: DataTable
) -> dict[str, tuple[list[tuple[Example, Mapping[str, Any]]], int]]:
    """The rows with their labels as ``rename`` calls them. Raises DataError for labels that no row has."""
    there = {row.label for rows, _ in found.values() for row, _ in rows}
    if unknown := [name for name in table.rename if name not in there]:
        raise DataError(
            f"{' and '.join(found)}: rename names the label {listed(map(repr, unknown))}, which no row has; the rows "
            f"have {listed(map(repr, sorted(there)), 8)}"
        )
    return {
        name: ([(replace(row, label=table.rename.get(row.label, row.label)), kept) for row, kept in rows], n_empty)
        for name, (rows, n_empty) in found.items()
    }


def source_parts(table: DataTable, all_columns: bool = False) -> list[Part]:
    """What ``path`` or ``hub`` holds, by split; where a column says the split, its values part the rows.

    Parameters
    ----------
    all_columns : bool
        Whether rows of a dataset have the columns that the table does not name as well.
    """
    if not table.path:
        return chosen(_hub_parts(table, all_columns), table.read_splits, f"dataset {table.hub!r}")
    parts = parts_of(table.path, table.dialect)
    if table.split:
        parts = [one for part in parts for one in parted_by(part, table.split)]
    wanted = (*table.read_splits, *([table.test_split] if table.test_split else ()))
    chosen(parts, wanted, table.path)
    return chosen(parts, table.read_splits, table.path)


def _examples(
    table: DataTable, parts: Sequence[Part], asked: Sequence[AskedColumns]
) -> tuple[list[tuple[Example, Mapping[str, Any]]], int]:
    """Examples of the parts together, and how many rows are left out. Rows of a second file are numbered on."""
    roles = ("group", "id") if asked else ("label", "group", "id", "choices")
    columns = {role: getattr(table, role) or None for role in roles}
    examples: list[tuple[Example, Mapping[str, Any]]] = []
    name, before, last, n_empty = "", 0, 0, 0
    for part in parts:
        rows = list(seen(part, table))
        labels = [name for one in asked for name in one.columns] or [table.label]
        filled = [row for row in rows if not _is_empty(row, table, labels)] if "empty" in table.leave_out else rows
        n_empty += len(rows) - len(filled)
        if part.name != name:
            name, before = part.name, last
        last = max(last, before + max((row.number for row in rows), default=0))
        read = examples_from_rows(filled, {"text": table.text_columns, **columns}, part.name)
        if before and not table.id:
            read = [replace(row, id=str(before + int(row.id))) for row in read]
        # A row that is a fault was refused just now.
        whole = [row for row in filled if isinstance(row, Row)]
        if asked:
            examples += over_points(read, whole, asked, part.name)
        else:
            examples += zip(read, (row.record for row in whole), strict=True)
    return examples, n_empty


def seen(part: Part, table: DataTable) -> Iterable[Row | Fault]:
    """A part's rows, each with the text of its image where the table has a column of images."""
    if not table.image:
        return part.scan()
    # A dataset's images come with its rows.
    folder = Path(part.name).parent if table.path else None
    return with_texts(part.scan(), table.text_columns, table.image, folder)


def _is_empty(row: Row | Fault, table: DataTable, labels: Sequence[str]) -> bool:
    """Whether a row has no text or, in none of the columns for it, a label, though it has all these columns."""
    if not isinstance(row, Row):
        return False
    known = all(name in row.record for name in labels)
    return table.text_columns.is_empty_in(row.record) or (
        known and all(_says_nothing(row.record[one]) for one in labels)
    )


def _says_nothing(cell: Any) -> bool:
    """An empty list is an answer: none of the labels."""
    return not isinstance(cell, list | tuple) and is_empty(cell)


def _hub_parts(table: DataTable, all_columns: bool) -> list[Part]:
    """The splits of a Hugging Face dataset."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError('reading a dataset id needs datasets: pip install "labelwright[tune]"') from error
    try:
        loaded = datasets.load_dataset(table.hub, table.config or None, revision=table.revision or None)
    except Exception as error:  # what a hub can answer has no common base class
        lines = (str(error).strip() or type(error).__name__).splitlines()
        # Of a dataset with several configurations the next line names them.
        which = [line for line in lines[1:] if "available configs" in line]
        reason = " ".join([lines[0], *which])
        raise DataError(
            f"dataset {table.hub!r} cannot be read: {reason}; check the id, or download it and set path"
        ) from error
    others = [column for column in (table.label, table.group, table.id, table.choices) if column]
    texts = [*table.text_columns.names]
    if table.image:
        of_image = (image_shown(table.image), image_text(table.image))
        texts = [table.image, *(name for name in texts if name not in of_image)]
    named = [*texts, *others]
    used = [] if all_columns else named
    return [
        Part(f"{table.hub} ({split})", str(split), lambda part=part: _hub_rows(part, used))  # type: ignore[misc]
        for split, part in loaded.items()
    ]


def _hub_rows(part: Any, used: Sequence[str]) -> Iterator[Row]:
    """A split's rows, class numbers turned into names."""
    features = dict(part.features)
    # Other columns may hold what Python has no type for, such as dates after the year 9999.
    if used and hasattr(part, "select_columns") and set(used) <= set(features):
        part = part.select_columns(used)
    classes = {column: feature for column, feature in features.items() if hasattr(feature, "int2str")}
    for column, feature in dict(part.features).items():
        if type(feature).__name__ == "Image":  # decoded by the house, within its limits, or not at all
            part = part.cast_column(column, type(feature)(decode=False))
    for number, record in enumerate(part, start=1):
        named = {column: _class_name(record[column], classes[column]) for column in classes if column in record}
        yield Row(number, {**record, **named})


def _class_name(value: Any, feature: Any) -> Any:
    """What ``datasets`` calls a class number; a number that is none is for whoever reads the column to refuse."""
    try:
        if isinstance(value, int) and value >= 0:
            return feature.int2str(value)
    except ValueError:
        pass
    return class_name(value, ())
