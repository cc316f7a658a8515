"""Labelled rows of a task with questions, as examples: one for each point that a row has an answer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from labelwright.data.asked.cells import AskedColumns, answers_of
from labelwright.data.asked.questions import Point, points_of, put
from labelwright.data.records import Fault, Row, refusal
from labelwright.data.task import Example
from labelwright.errors import DataError


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
        replace(row, id=f"{row.id} ? {point.name}", text=put(row.text, point), label=point.class_of(said), group=group)
        for point, said in answers
    ]
