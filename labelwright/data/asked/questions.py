"""What may be asked of a row besides one label: several questions, any of some labels, levels in order, yes or no.

Whatever is asked comes down to **points**: each is one closed choice about the row. A choice, a score and a yes or no
are one point each; a question that takes any of its labels is a point a label, with the answers yes and no. So a row of
a task with several points stands as many times among the examples, once for each point that it has an answer to: its
text, and behind it a line with the point (``put``). The classes of such a task are all answers to all points
("refund: yes"), of which an example can have only those of its own point. Everything that works on labels works on
these: what is learnt about a class is what is true of that answer. Only the two ends know more: rows come in with
several answers, and go out with them; and who reads a row (``row_of``) reads it once for all its points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from labelwright.data.label import Label
from labelwright.errors import DataError

Kind = Literal["choice", "labels", "score", "yes_no"]
KINDS: tuple[Kind, ...] = get_args(Kind)
YES, NO = "yes", "no"
# Between a point and its answer in the name of a class, and before the point in the text of an example.
_OF, _ASKED = ": ", "\n? "


@dataclass(frozen=True)
class Question:
    """One question about every row, with a closed set of answers.

    Attributes
    ----------
    name : str
        What it is called in files, answers and, where there are several, in the prompt.
    kind : {"choice", "labels", "score", "yes_no"}
        One of the labels; any of them, or none; one of them, which are levels in rising order; yes or no.
    labels : tuple of Label
        None for "yes_no".
    instructions : str
        What is asked, in a line, where the name does not say it.

    Raises
    ------
    DataError
        A kind that there is not, no name, labels where there are none to choose from, or too few.
    """

    name: str
    kind: Kind = "choice"
    labels: tuple[Label, ...] = ()
    instructions: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"question {self.name!r} has kind = {self.kind!r}: expected one of {', '.join(KINDS)}")
        if not _is_name(self.name):
            raise DataError(f"a question is called {self.name!r}: give it a name, in one line, no space around it")
        if self.kind == "yes_no" and self.labels:
            raise DataError(f"question {self.name!r} is answered yes or no: leave its labels out")
        least = 0 if self.kind == "yes_no" else 2
        if len(self.labels) < least:
            alone = '; of one, ask "yes_no"' if self.kind == "labels" else ""
            raise DataError(f"question {self.name!r} has {len(self.labels)} label(s): expected {least} at least{alone}")
        names = [label.name for label in self.labels]
        if strange := [name for name in names if not _is_name(name)]:
            raise DataError(
                f"question {self.name!r} has the label {strange[0]!r}: expected a name, in one line, no space around it"
            )
        if repeated := [name for name, n in Counter(names).items() if n > 1]:
            raise DataError(f"question {self.name!r} names the label {repeated[0]!r} more than once: keep one")
        if self.kind == "score" and (fallen := _fallen(names)):
            raise DataError(f"question {self.name!r} has level {fallen[1]} behind {fallen[0]}: write the lowest first")

    @property
    def answers(self) -> tuple[Label, ...]:
        """What one of its points can be answered with."""
        return self.labels if self.kind in ("choice", "score") else (Label(YES), Label(NO))


def _is_name(text: str) -> bool:
    """Whether cells, which are stripped, and lines can hold it as it is."""
    return bool(text) and text == text.strip() and "\n" not in text and len(text.splitlines()) == 1


def _fallen(names: Sequence[str]) -> tuple[str, str] | None:
    """The first two levels that do not rise, where all are numbers; words are in the order that they are given in."""
    try:
        values = [float(name) for name in names]
    except ValueError:
        return None
    places = range(1, len(values))
    return next(((names[one - 1], names[one]) for one in places if not values[one - 1] < values[one]), None)


class Point(NamedTuple):
    """One closed choice about a row.

    Attributes
    ----------
    name : str
    question : int
        Position of the question that it belongs to.
    answers : tuple of Label
    about : str
        What is asked, in a line; may be empty.
    label : str
        Of a question that takes any of its labels, the one that it stands for; else empty.
    """

    name: str
    question: int
    answers: tuple[Label, ...]
    about: str = ""
    label: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, where a task has several points."""
        return tuple(self.class_of(answer.name) for answer in self.answers)

    def class_of(self, answer: str) -> str:
        """The class that an answer to it is.

        >>> Point("refund", 0, (Label("yes"), Label("no"))).class_of("yes")
        'refund: yes'
        """
        return f"{self.name}{_OF}{answer}"


def points_of(questions: Sequence[Question]) -> tuple[Point, ...]:
    """The points of a task's questions, in order; labels are called after their question too where there are several.

    >>> [point.name for point in points_of([Question("topic", "labels", (Label("late"), Label("refund")))])]
    ['late', 'refund']

    Raises
    ------
    DataError
        Two questions, points or classes of one name.
    """
    points = tuple(_points(questions))
    names = [*(f"question {one.name!r}" for one in questions), *(f"point {point.name!r}" for point in points)]
    names += [f"answer {name!r}" for point in points for name in point.classes]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise DataError(f"{repeated[0]} is there more than once: name questions and labels so that each is one")
    return points


def _points(questions: Sequence[Question]) -> Iterator[Point]:
    for number, asked in enumerate(questions):
        if asked.kind != "labels":
            yield Point(asked.name, number, asked.answers, asked.instructions)
            continue
        before = f"{asked.name}, " if len(questions) > 1 else ""
        for label in asked.labels:
            yield Point(f"{before}{label.name}", number, asked.answers, label.description, label.name)


def put(text: str, point: Point) -> str:
    """A row's text and the point that is asked of it, as one text; ``split_put`` takes it apart again.

    >>> put("Where is my money?", Point("refund", 0, (Label("yes"), Label("no"))))
    'Where is my money?\\n? refund'
    """
    return f"{text.strip()}{_ASKED}{point.name}"


def put_all(text: str, points: Sequence[Point]) -> tuple[str, ...]:
    """A row's text with each point that can be asked of it."""
    return tuple(put(text, point) for point in points)


def split_put(text: str, points: Sequence[Point]) -> tuple[str, int]:
    """A row's text, and the position of the point that is asked of it. Raises DataError for a text without one."""
    row, found, name = text.rpartition(_ASKED)
    place = next((k for k, point in enumerate(points) if point.name == name), -1) if found else -1
    if place < 0:
        names = ", ".join(point.name for point in points[:8])
        raise DataError(f"{text[:40]!r}… asks none of the points of this task ({names}): put one behind the row")
    return row, place


def row_of(text: str, points: Sequence[Point]) -> str:
    """A row's text without the point that is asked of it; as it is for a task that has none."""
    return split_put(text, points)[0] if points else text
