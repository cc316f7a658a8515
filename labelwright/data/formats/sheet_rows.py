"""Rows of a workbook's sheet: Excel's formats and OpenDocument's, read through python-calamine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from labelwright.data.formats.dialect import Dialect
from labelwright.data.formats.packed import opened
from labelwright.data.formats.places import Place
from labelwright.errors import DataError, MissingExtraError


def sheet_rows(path: Place, dialect: Dialect) -> Iterator[dict[str, Any]]:
    """Rows below the header of the dialect's sheet; blank ones are none, and a cell that is empty is None.

    Raises
    ------
    DataError
        No workbook; no such sheet; several with rows and none named; a header with a column twice.
    MissingExtraError
        Without python-calamine.
    """
    sheets = read_sheets(path)
    if dialect.sheet:
        if dialect.sheet not in sheets:
            raise DataError(f"{path}: no sheet {dialect.sheet!r}; it has {', '.join(map(repr, sheets))}")
        rows = sheets[dialect.sheet]
    else:
        filled = {name: rows for name, rows in sheets.items() if len(rows) > dialect.title_rows + dialect.header}
        if len(filled) > 1:
            named = ", ".join(map(repr, filled))
            raise DataError(f"{path}: several sheets have rows ({named}); say which ([data] sheet in a recipe)")
        rows = next(iter(filled.values()), [])
    rows = rows[dialect.title_rows :]
    if not rows:
        return
    width = max(map(len, rows))
    header = [str(number) for number in range(1, width + 1)]
    if dialect.header:
        first, rows = rows[0], rows[1:]
        names = [str(cell).strip() for cell in first]
        repeated = [name for name, n in Counter(names).items() if name and n > 1]
        if repeated:
            raise DataError(f"{path}: the header has the column {repeated[0]!r} twice; rename or drop one")
        if width > 1 and sum(map(bool, names)) < 2:
            raise DataError(
                f"{path}: the first row, which names the columns, has one cell of {width} "
                f"({next(filter(None, names))!r}); remove what stands above the names, or say how many rows that are "
                "([data] title_rows in a recipe)"
            )
        header = names + [""] * (width - len(names))
    for row in rows:
        cells = [None if cell == "" else cell for cell in row] + [None] * (width - len(row))
        yield {name: cell for name, cell in zip(header, cells, strict=True) if name or cell is not None}


def read_sheets(path: Place) -> dict[str, list[list[Any]]]:
    """The rows of every sheet without blank ones, numbers as Excel shows them. Raises as ``sheet_rows`` does."""
    try:
        import python_calamine as calamine
    except ImportError as error:
        raise MissingExtraError('reading workbooks needs python-calamine: pip install "labelwright[excel]"') from error
    try:
        with opened(path, seeking=True) as file:
            book = calamine.CalamineWorkbook.from_filelike(file)
            found = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except (calamine.CalamineError, ValueError, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a workbook that can be read ({said}); save it again, or as .csv") from error
    return {
        name: [list(map(_cell, row)) for row in rows if any(cell != "" for cell in row)] for name, rows in found.items()
    }


def _cell(value: Any) -> Any:
    """All numbers of a workbook are floats; 3 is shown as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
