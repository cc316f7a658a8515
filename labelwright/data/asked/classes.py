"""Which classes a row can have, where not every row can have all: letters of its own choices, answers to its point."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from labelwright.data.asked.questions import Point, split_put
from labelwright.data.choices import split_lettered
from labelwright.data.task import Task
from labelwright.errors import DataError


def classes_of_rows(
    texts: Sequence[str], n_classes: int, by_row: bool, points: Sequence[Point]
) -> NDArray[np.bool_] | None:
    """(n_texts, n_classes): which classes each row can have; None where all rows can have all.

    Parameters
    ----------
    by_row : bool
        Whether rows bring their own choices.
    points : sequence of Point
        Of the task; empty where it has none.

    Raises
    ------
    DataError
        More choices than classes, or a text without choices or point where each has some.
    """
    if by_row:
        return letters_of(texts, n_classes)
    if not points:
        return None
    of_class = np.repeat(np.arange(len(points)), [len(point.answers) for point in points])
    asked = np.array([split_put(text, points)[1] for text in texts], dtype=np.int64)
    return np.asarray(asked[:, None] == of_class)


def classes_of(task: Task, texts: Sequence[str]) -> NDArray[np.bool_] | None:
    """``classes_of_rows`` of a task."""
    return classes_of_rows(texts, len(task.names), task.by_row, task.points)


def columns_of(points: Sequence[Point]) -> list[slice]:
    """The classes of each point, as columns of whatever has one a class."""
    ends = list(accumulate(len(point.answers) for point in points))
    return [slice(end - len(point.answers), end) for end, point in zip(ends, points, strict=True)]


def blocks_of(task: Task, probs: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Probabilities a question, of a task with several points, in the order of the questions.

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_points, n_labels)

    Returns
    -------
    list of ndarray
        Of a question that takes any of its labels (n_rows, n_question_labels), the probability that each applies; of
        another (n_rows, n_answers), which add up to 1.
    """
    columns, blocks = columns_of(task.points), []
    for number, question in enumerate(task.questions):
        places = [place for place, point in enumerate(task.points) if point.question == number]
        if question.kind == "labels":
            # Yes is the first of its answers.
            blocks.append(probs[:, places, [columns[place].start for place in places]])
        else:
            blocks.append(probs[:, places[0], columns[places[0]]])
    return blocks


def letters_of(texts: Sequence[str], n_letters: int) -> NDArray[np.bool_]:
    """(n_texts, n_letters): which letters stand before a choice of each row. Raises DataError as above."""
    counts = np.array([len(split_lettered(text)[1]) for text in texts], dtype=np.int64)
    over = np.flatnonzero(counts > n_letters)
    if len(over):
        raise DataError(f"row {over[0] + 1} has {counts[over[0]]} choices, but the task at most {n_letters}")
    return np.arange(n_letters) < counts[:, None]
