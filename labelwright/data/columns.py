"""Which columns of a row are its text, and how several become one: nothing else in the house does either.

The form: the cells in the order in which their columns are named, a line below each other, empty ones left out. Names
of columns are no part of it, so a title and a body read as whoever wrote them meant them to, and a text that is whole
already, in one column, reads the same. The bundle carries the names (``Task.text_columns``), so that its rows become
the same texts wherever they are asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwright.data.records import as_written, is_empty, is_missing, listed, no_column, optional_text
from labelwright.errors import DataError

# What a whole text is called: of typed texts, of golden rows, of requests.
TEXT = "text"
# What answers are written under; a column of the input that has such a name is kept as input_NAME, in every row.
ANSWER = frozenset({"label", "confidence", "probabilities", "abstained", "suggested", "label_set", "expected", "error"})


# What the text of an image is called, behind the column that the image is in (``labelwright.pictures.rows``), and what
# stands for the image where the model itself looks at it.
_OF_IMAGE, _SHOWN = "_text", "_shown"


def image_text(image: str) -> str:
    """The column that the text of an image stands in, beside the column of the image.

    >>> image_text("screenshot")
    'screenshot_text'
    """
    return f"{image}{_OF_IMAGE}"


def image_shown(image: str) -> str:
    """The column that stands for an image itself, which the model looks at; the first of a text's columns.

    >>> image_shown("screenshot")
    'screenshot_shown'
    """
    return f"{image}{_SHOWN}"


def kept_as(name: str) -> str:
    """What a column of the input is called among the answers to it."""
    return f"input_{name}" if name in ANSWER else name


def columns_fault(names: Sequence[str]) -> str:
    """What is wrong with such names of columns of the text; empty where nothing is."""
    if names and len(set(names)) == len(names):
        return ""
    return f"the text columns are {list(names)}: name one or more, each once"


@dataclass(frozen=True)
class TextColumns:
    """The columns of a row's text.

    Attributes
    ----------
    names : tuple of str
        One or more, in order.
    or_whole : bool
        Whether a row that has none of them may have its whole text in a column ``text``, as what was typed has. Where
        ``text`` is itself one of several, a row that has it and nothing else is whole: beside any other column it may
        be a part whose others were misnamed.

    Raises
    ------
    DataError
        No name, or one that is there twice.
    """

    names: tuple[str, ...] = (TEXT,)
    or_whole: bool = False

    def __post_init__(self) -> None:
        if fault := columns_fault(self.names):
            raise DataError(fault)

    @classmethod
    def of(cls, named: str | Sequence[str] | TextColumns) -> TextColumns:
        """From the name of one column, or those of several.

        >>> TextColumns.of("message").names, TextColumns.of(["title", "body"]).names
        (('message',), ('title', 'body'))
        """
        if isinstance(named, TextColumns):
            return named
        return cls((named,) if isinstance(named, str) else tuple(named))

    def __str__(self) -> str:
        return listed(map(repr, self.names))

    def of_row(self, record: Collection[str]) -> tuple[str, ...]:
        """The columns that this row's text is in."""
        if not self.or_whole or TEXT not in record:
            return self.names
        is_whole = len(record) == 1 if TEXT in self.names else not any(name in record for name in self.names)
        return (TEXT,) if is_whole else self.names

    def of_table(self, columns: Collection[str]) -> TextColumns:
        """Those that the texts of a table are in: these, or its only column, where that is none of several."""
        return self if len(columns) != 1 or {*columns} < {*self.names} else TextColumns(tuple(columns))

    @staticmethod
    def unwrapped(record: Mapping[str, Any]) -> dict[str, Any]:
        """A row whose cells may be lists of one cell each, as arrays of one column have it, without these."""
        plain = {name: cell.tolist() if getattr(cell, "ndim", 0) else cell for name, cell in record.items()}
        return {name: one[0] if isinstance(one, list) and len(one) == 1 else one for name, one in plain.items()}

    def missing_in(self, record: Collection[str]) -> list[str]:
        """Those that a row does not have."""
        return [name for name in self.of_row(record) if name not in record]

    def is_empty_in(self, record: Mapping[str, Any]) -> bool:
        """Whether a row has the columns, and all of its cells are empty."""
        names = self.of_row(record)
        return all(name in record and is_empty(record[name]) for name in names)

    def read(self, record: Mapping[str, Any]) -> str:
        r"""A row's text, stripped; empty where all its cells are.

        Raises
        ------
        DataError
            Columns that the row does not have, all of them; cells that are no text. The message is the reason of a
            ``Fault``: no file, no row.

        Examples
        --------
        >>> both = TextColumns.of(["title", "body"])
        >>> both.read({"body": " It leaks. ", "title": "Pump", "label": "pool"}), both.read({"title": "", "body": "It"})
        ('Pump\nIt leaks.', 'It')
        """
        return "\n".join(filter(None, self.cells(record)))

    def cells(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """What a row's text is made of, a cell a column, some of them empty. Raises DataError as ``read``."""
        if missing := self.missing_in(record):
            raise DataError(no_column(missing, self.names, record, "text"))
        cells: list[str] = []
        faults = []
        for name in self.of_row(record):
            try:
                cells.append(optional_text({name: as_written(record[name])}, name, "text"))
            except DataError as error:
                faults.append(str(error) if len(self.names) == 1 else f"column {name!r}: {error}")
        if faults:
            raise DataError("; ".join(faults))
        return tuple(cells)

    def need(self, record: Mapping[str, Any]) -> str:
        """``read``; raises DataError where the text is empty, too."""
        text = self.read(record)
        if not text:
            raise DataError("the text is empty; fill it in or remove the row")
        return text

    def seen(self, record: Mapping[str, Any]) -> str | None:
        """A row's text to look at, whatever its cells hold; None where it has none, or not all of the columns."""
        if self.missing_in(record):
            return None
        cells = [record[name] for name in self.of_row(record)]
        return "\n".join(str(as_written(one)).strip() for one in cells if not is_missing(one)) or None

    def in_answers(self) -> TextColumns:
        """The same columns as answers to their rows keep them."""
        return TextColumns(tuple(map(kept_as, self.names)), self.or_whole)


def named_columns(said: str | Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """The columns that a person names: one, or several with commas between; none for nothing.

    Parameters
    ----------
    known : collection of str
        Columns that there are, of which one may have a comma in its own name.

    Examples
    --------
    >>> named_columns("title, body", ["title", "body"]), named_columns("a,b", ["a,b", "a"])
    (('title', 'body'), ('a,b',))
    """
    if not isinstance(said, str):
        return tuple(said)
    if said in known or "," not in said:
        return (said,) if said else ()
    return tuple(filter(None, (one.strip() for one in said.split(","))))
