"""How a file says what a row's answers are: a column a question, a column a label, a list, or labels with a separator.

Used by whoever reads labelled rows of a task with questions. What is found is an answer to each point; an empty cell is
none, so that a row may be labelled for some of its questions only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwright.data.asked.questions import NO, YES, Point, Question, points_of
from labelwright.data.records import as_written, checked_text, is_empty, listed, no_column, optional_text
from labelwright.data.task import Task
from labelwright.errors import DataError

# How yes and no are written, in any case.
_SAYS = {**dict.fromkeys(("yes", "y", "true", "t", "1"), YES), **dict.fromkeys(("no", "n", "false", "f", "0"), NO)}
_SHOWN = 8


@dataclass(frozen=True)
class AskedColumns:
    """Where in a file the answers to a question stand.

    Attributes
    ----------
    question : Question
    columns : tuple of str
        One; or of a question that takes any of its labels as many as it has labels, in their order, each of which says
        yes or no of one.
    separator : str
        What stands between labels that are one cell's; empty where cells hold lists alone.
    """

    question: Question
    columns: tuple[str, ...]
    separator: str = ""

    def __post_init__(self) -> None:
        asked, n = self.question, len(self.columns)
        if n != 1 and (asked.kind != "labels" or n != len(asked.labels)):
            expected = f"one, or {len(asked.labels)}, one a label" if asked.kind == "labels" else "one"
            raise DataError(f"question {asked.name!r} has {n} columns: expected {expected}")
        names = [label.name for label in asked.labels]
        if n > 1 and set(names) == set(self.columns) and names != list(self.columns):
            raise DataError(f"question {asked.name!r} has its labels' columns in another order than its labels: write "
                            f"them in the same one")  # fmt: skip

    def read(self, record: Mapping[str, Any]) -> tuple[str | None, ...]:
        """The answer to each point of the question, in order; None where the row has none.

        Raises
        ------
        DataError
            Columns that the row does not have; a cell of another form; an answer that is none of the labels; a label
            twice. The message is the reason of a ``Fault``: no file, no row.
        """
        if missing := [name for name in self.columns if name not in record]:
            raise DataError(no_column(missing, self.columns, record, "label"))
        asked = self.question
        if asked.kind == "yes_no" or len(self.columns) > 1:
            return tuple(_yes_or_no(record, name) for name in self.columns)
        if is_empty(record[self.columns[0]]) and not isinstance(record[self.columns[0]], list | tuple):
            return (None,) * (len(asked.labels) if asked.kind == "labels" else 1)
        if asked.kind == "labels":
            return self._any_of(record[self.columns[0]])
        name = self.columns[0]
        given = optional_text({name: as_written(record[name])}, name, "label")
        _refuse_unknown([given], asked)
        return (given,)

    def _any_of(self, cell: Any) -> tuple[str, ...]:
        given = _list_of(cell, self.separator)
        _refuse_unknown(given, self.question)
        if twice := [name for name, n in Counter(given).items() if n > 1]:
            raise DataError(f"the label {twice[0]!r} stands in the cell twice; name each label once")
        return tuple(YES if label.name in given else NO for label in self.question.labels)


def columns_of(task: Task, column: str = "") -> tuple[AskedColumns, ...]:
    """Where a file has the answers to a task's questions, as whoever made it knew them.

    Parameters
    ----------
    column : str
        In place of the column that a task's only question knows.

    Raises
    ------
    DataError
        A column for several questions; columns that are none for a question.
    """
    if column and len(task.questions) != 1:
        names = listed(repr(one.name) for one in task.questions)
        raise DataError(f"one column, {column!r}, for the answers to several questions, {names}: leave it out")
    places = ((column,),) if column else task.answers_in or tuple((one.name,) for one in task.questions)
    each = zip(task.questions, places, strict=True)
    return tuple(AskedColumns(question, own, task.separator) for question, own in each)


def answers_of(record: Mapping[str, Any], asked: Sequence[AskedColumns]) -> list[tuple[Point, str]]:
    """The points of a row that it has an answer to, each with the answer. Raises DataError, for all questions at once.

    >>> from labelwright.data.label import Label
    >>> topics = Question("topic", "labels", tuple(map(Label, ("late", "refund"))))
    >>> [(point.name, said) for point, said in answers_of({"topic": "late"}, [AskedColumns(topics, ("topic",), ";")])]
    [('late', 'yes'), ('refund', 'no')]
    """
    said: list[str | None] = []
    faults = []
    for one in asked:
        try:
            said += one.read(record)
        except DataError as error:
            faults.append(str(error) if len(asked) == 1 else f"question {one.question.name!r}: {error}")
    if faults:
        raise DataError("; ".join(faults))
    points = points_of([one.question for one in asked])
    found = [(point, answer) for point, answer in zip(points, said, strict=True) if answer is not None]
    if not found:
        none = "; a row that none of the labels is right for says []" if any(
            one.question.kind == "labels" for one in asked
        ) else ""  # fmt: skip
        raise DataError(f"the label is empty; fill it in or remove the row{none}")
    return found


def _list_of(cell: Any, separator: str) -> list[str]:
    """The labels of a cell: a list, one as JSON, or words between separators."""
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError as error:
            raise DataError('the labels are no list; expected one such as ["late", "refund"]') from error
    if isinstance(cell, str) and separator:
        cell = [one for one in cell.split(separator) if one.strip()]
    if isinstance(cell, Mapping | bytes | set | frozenset):
        raise DataError(f'the labels are a {type(cell).__name__}; expected a list such as ["late", "refund"]')
    cells = list(cell) if isinstance(cell, list | tuple) else [cell]
    if any(isinstance(one, list | tuple | Mapping | bytes) or is_empty(one) for one in cells):
        raise DataError("the list of labels holds something that is no label; write each as text")
    return [checked_text(str(as_written(one)).strip(), "label") for one in cells]


def _yes_or_no(record: Mapping[str, Any], name: str) -> str | None:
    given = optional_text({name: as_written(record[name])}, name, "label")
    if given and given.lower() not in _SAYS:
        raise DataError(f"column {name!r} holds {given!r}; expected yes or no (or true and false, 1 and 0)")
    return _SAYS[given.lower()] if given else None


def _refuse_unknown(given: Sequence[str], asked: Question) -> None:
    names = [label.name for label in asked.labels]
    if unknown := [one for one in given if one not in names]:
        which = f"label {unknown[0]!r} is" if len(unknown) == 1 else f"labels {listed(map(repr, unknown))} are"
        hint = "" if asked.kind != "labels" or len(given) > 1 else "; if they are several in one cell, say [data] "
        hint = f"{hint}separator" if hint else ""
        raise DataError(f"{which} not one of {listed(map(repr, names), _SHOWN)}; correct the row or the labels{hint}")
