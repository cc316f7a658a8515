"""Labelled rows of a task with questions, as examples: one for each point that a row has an answer to; and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from labelwright.data.asked.cells import AskedColumns, answers_of
from labelwright.data.asked.questions import Point, points_of, put, split_put
from labelwright.data.records import Fault, Row, refusal
from labelwright.data.task import Example
from labelwright.errors import DataError

# Between a row's id and the point that is asked of it.
_OF_ROW = " ? "


def over_points(
    rows: Sequence[Example], records: Sequence[Row], asked: Sequence[AskedColumns], source: str
) -> list[tuple[Example, Mapping[str, Any]]]:
    """Rows as examples of what is asked of them, each with the record of its row.

    A row becomes as many examples as it has answers, of one group, so that they stay on one side of every split. Where
    one point is all that is asked, it is the label, and a row stays one example.

    Parameters
    ----------
    rows : sequence of Example
        As they were read, without labels.
    records : sequence of Row, one a row

    Raises
    ------
    DataError
        Whatever ``AskedColumns.read`` refuses, of all rows in one message.
    """
    faults = []
    found: list[tuple[Example, Mapping[str, Any]]] = []
    for row, read in zip(rows, records, strict=True):
        try:
            found += [(example, read.record) for example in _of_row(row, answers_of(read.record, asked), asked)]
        except DataError as error:
            faults.append(Fault(read.number, str(error)))
    if faults:
        raise refusal(source, faults)
    return found


def _of_row(row: Example, answers: Sequence[tuple[Point, str]], asked: Sequence[AskedColumns]) -> list[Example]:
    if len(points_of([one.question for one in asked])) == 1:
        return [replace(row, label=answers[0][1])]
    group = row.group if row.group is not None else f"row: {row.text.strip()}"
    return [
        replace(
            row,
            id=f"{row.id}{_OF_ROW}{point.name}",
            text=put(row.text, point),
            label=point.class_of(said),
            group=group,
            row_text=row.text,
        )
        for point, said in answers
    ]


class Rejoined(NamedTuple):
    """Which row, and which of its points, each example is.

    Attributes
    ----------
    row : list of int
        One an example, counted from 0 in the order in which rows first occur.
    point : list of int
        One an example: the position among the task's points.
    first : list of int
        The first example of each row.
    """

    row: list[int]
    point: list[int]
    first: list[int]


def rejoined(examples: Sequence[Example], points: Sequence[Point]) -> Rejoined:
    """Rows of examples that ``over_points`` made, whatever their order; some answers of a row may be missing.

    Raises
    ------
    DataError
        An example that asks none of the points, or a row that is asked one of them twice.
    """
    place: dict[str, int] = {}
    found, seen = Rejoined([], [], []), set()
    for number, example in enumerate(examples):
        point = split_put(example.text, points)[1]
        of_row = example.id.removesuffix(f"{_OF_ROW}{points[point].name}")
        if (of_row, point) in seen:
            raise DataError(f"row {of_row!r} is asked {points[point].name!r} twice: ids must be unique")
        seen.add((of_row, point))
        if of_row not in place:
            found.first.append(number)
        found.row.append(place.setdefault(of_row, len(place)))
        found.point.append(point)
    return found
