"""A table as it is, whoever shows it: columns, cells as text, and what is said beside it. No markup is made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import METRICS
from workbench.wording import DASH, parts

# A candidate's name; a number of ours; a word or name, maybe a user's; a text; one that may be long; something to copy.
Kind = Literal["candidate", "number", "words", "text", "long", "code"]
# Characters of a cell that are shown, by its kind.
LONGEST = {"candidate": 120, "number": 60, "words": 120, "text": 600, "long": 2000, "code": 60}


class Column(NamedTuple):
    """What heads a column, and what its cells are."""

    name: str
    kind: Kind = "number"


class Cell(NamedTuple):
    """A value, and what is behind it in small print: an interval, a spread, for a candidate what it is."""

    value: str
    about: str = ""


# A candidate, a label or whatever else has a row, to its cell in a column.
Make = Callable[[Any], Cell | str]
CANDIDATE = Column("candidate", "candidate")
# What a test row costs at the recipe's prices, which candidates are ranked by where there are some.
COST = Column("cost a row")
NOTHING = Cell(DASH)
# In place of all cells behind a candidate's name; ``about`` says why.
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes
    ----------
    section : str
        A word for the section that it stands in, as in ``report.html#cost``; several tables may share one.
    title : str
        The section's heading.
    rows : sequence of sequence of Cell
        A row that is shorter than the columns ends with a cell for all that are left.
    of : str
        What it is of, where the section has several.
    about, remarks : str, sequence of str
        What is said above it, and below.
    nothing : str
        What to say where there are no rows; where that is empty, nothing is said at all.
    plots : sequence of str
        The pictures that belong to it.
    is_folded : bool
        It is read by few.
    """

    section: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    of: str = ""
    about: str = ""
    remarks: Sequence[str] = ()
    nothing: str = ""
    plots: Sequence[str] = ()
    is_folded: bool = False

    @classmethod
    def of_each(
        cls, section: str, title: str, things: Iterable[Any], made: Mapping[Column, Make], **rest: Any
    ) -> Table:
        """A table with a row for each thing, every column beside what makes its cells; the rest is as above."""
        made_cells = ([make(thing) for make in made.values()] for thing in things)
        rows = [[one if isinstance(one, Cell) else Cell(one) for one in row] for row in made_cells]
        return cls(section, title, [*made], rows, **rest)

    @property
    def full_title(self) -> str:
        """The heading, with what the table is of."""
        return f"{self.title}: {self.of}" if self.of else self.title

    def values(self, name: str) -> list[str]:
        """The values of a column; of what was left out, dashes behind the word for it."""
        place = [column.name for column in self.columns].index(name)
        return [row[place].value if place < len(row) else DASH for row in self.rows]


def metric(name: str, interval: Interval | None, signed: bool = False) -> Cell:
    """A metric with its interval, as percent where it is a share."""
    return NOTHING if interval is None else Cell(*parts(interval, METRICS[name].is_share, signed))


def cost_a_row(entry: Any) -> Cell:
    """What a test row of a candidate costs, with its interval; nothing where there are no prices."""
    return Cell(*parts(entry.priced["cost"], is_share=False)) if entry.priced else NOTHING


def metrics(
    names: Sequence[str], found: Callable[[Any], Mapping[str, Interval]], before: str = ""
) -> dict[Column, Make]:
    """Columns of several metrics, as far as a thing has them; ``before`` stands in front of their titles."""

    def column(name: str) -> tuple[Column, Make]:
        return Column(before + METRICS[name].title), lambda thing: metric(name, found(thing).get(name))

    return dict(map(column, names))


def cells(*values: str) -> list[Cell]:
    """Values that have nothing behind them."""
    return [Cell(value) for value in values]
