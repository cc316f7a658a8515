"""How a row is asked, whatever kind of task it is of: the one place that tells labels, choices and points apart.

Who takes rows in (files, tables, requests, arrays, a typed line) gets ``AskedRow`` of them, the texts that are scored;
who says what a task is, or can be used for one label a row only, reads it here. What is said of a row once it is scored
is ``labelwright.decisions.answered``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from labelwright.data.arrays import texts_of
from labelwright.data.asked.classes import columns_of
from labelwright.data.asked.meant import Kind, among, answers_to, points_meant
from labelwright.data.asked.questions import Question, put, put_all
from labelwright.data.choices import lettered, read_choices, split_lettered
from labelwright.data.records import listed
from labelwright.data.task import Task
from labelwright.errors import DataError

# Where a row's own choices are, in tables and in a typed line.
CHOICES, _BETWEEN = "choices", "|"
_SHOWN_LABELS = 12


class AskedRow(NamedTuple):
    """A row as it is scored.

    Attributes
    ----------
    texts : tuple of str
        One; of a task with several points one a point, in their order.
    choices : tuple of str, optional
        The row's own answers, which stand for the classes; None where the classes are what is answered.
    """

    texts: tuple[str, ...]
    choices: tuple[str, ...] | None = None


class Own(NamedTuple):
    """A question that is the task's own: the text that is scored, which classes its options are, in their order.

    Attributes
    ----------
    is_part : bool
        Whether it has but some of the options.
    """

    text: str
    columns: tuple[int, ...]
    is_part: bool = False


class Asking:
    """Rows that share a list of labels: a row's text is scored as it stands, and one of the labels is its answer.

    Attributes
    ----------
    task : Task
    beyond : str
        Why rows are not that, in words that a refusal begins with; empty where they are.
    columns : tuple of str
        What a row of a table may have besides its text.
    text_is_asked : bool
        Whether a row's text is all that is scored, so that texts of files of answers are what models read.
    """

    beyond = ""
    columns: tuple[str, ...] = ()
    text_is_asked = True

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def watched(self) -> tuple[str, ...]:
        """The classes that are counted apart where answers are watched; a single one stands for any."""
        return self.task.names

    @property
    def known(self) -> frozenset[str] | None:
        """What a file of answers may say; None for anything."""
        return frozenset(self.task.names)

    @property
    def listed(self) -> tuple[str, ...] | None:
        """The labels that a plain list of scores is of; None where there is no such list."""
        return self.task.names

    @property
    def size(self) -> str:
        """How much there is to choose among, as in "a classifier of texts into 18 labels"."""
        return f"{len(self.task.names)} labels"

    @property
    def promise(self) -> str:
        """What holds of every answer, a sentence."""
        return "The answer is always one of the labels, with a probability for each."

    def said(self, most: int) -> str:
        """What is answered, in some words; of ``most`` labels the names."""
        return f"one of {len(self.task.names)} labels: {listed(self.task.names, most)}"

    def answerable(self) -> str:
        """What there is an answer to without a language model, as the end of a sentence."""
        names = listed(self.task.names, _SHOWN_LABELS)
        return f"answers one question, a choice among its own labels, all or some of {names}"

    def row(self, text: str, cell: Any = None) -> AskedRow:
        """A row of a file. Raises DataError.

        Parameters
        ----------
        cell
            Its column of choices, which is read where rows bring their own.
        """
        return AskedRow((text,))

    def of_table(self, text: str, record: Mapping[str, Any]) -> AskedRow:
        """A row of a table, ``record``, whose text is known. Raises DataError."""
        return self.row(text)

    def typed(self, line: str) -> AskedRow:
        """A row as somebody types it. Raises DataError."""
        return self.row(line)

    def rows_of(self, X: Any) -> list[AskedRow]:  # noqa: N803 (scikit-learn's name)
        """Rows as scikit-learn hands them over. Raises DataError."""
        return [self.row(text) for text in texts_of(X)]

    def own(self, text: str, kind: Kind, options: Sequence[tuple[str, str]], called: Sequence[str] = ()) -> Own | None:
        """A question about a row as the task's own; None where it is another. Raises DataError.

        A choice is known by its options alone, the labels or some of them. Levels in order, and yes and no, are words
        of many questions: such a one is known by its name as well.

        Parameters
        ----------
        options : sequence of (name, description)
        called : sequence of str
            Names that it goes by.
        """
        names = [name for name, _ in options]
        if kind == "choice" and all(one.kind == "choice" for one in self.task.questions):
            columns = among(names, self.task.names)
        else:
            columns = next((found for _, found in points_meant(self.task.questions, kind, names, called)), None)
        return None if columns is None else Own(text, columns, len(columns) < len(self.task.names))


class OwnChoices(Asking):
    """Rows that bring their own choices: these are lettered behind the text, and the classes are the letters."""

    beyond = "rows bring their own choices"
    columns = (CHOICES,)
    text_is_asked = False

    @property
    def watched(self) -> tuple[str, ...]:
        """All choices are one."""
        return ("any choice",)

    @property
    def known(self) -> None:
        """Anything may be a choice."""
        return

    @property
    def listed(self) -> None:
        """Every row has others."""
        return

    @property
    def size(self) -> str:
        """As of the others."""
        return f"up to {self.task.max_choices} choices of each row"

    @property
    def promise(self) -> str:
        """As of the others."""
        return "The answer is always one of the choices, with a probability for each."

    def said(self, most: int) -> str:
        """As of the others."""
        return f"one of up to {self.task.max_choices} choices that come with the question"

    def answerable(self) -> str:
        """As of the others."""
        return f"answers a choice among 2 to {self.task.max_choices} options, nothing else"

    def row(self, text: str, cell: Any = None) -> AskedRow:
        """The text with the choices of a cell behind letters. Raises DataError where there are none."""
        return self._of(lettered(text, read_choices(cell, "the row"), "the row"))

    def of_table(self, text: str, record: Mapping[str, Any]) -> AskedRow:
        """The same where there is such a column; else the text holds them behind letters, and letters are answered."""
        has_column = CHOICES in record
        row = self.row(text, record[CHOICES]) if has_column else self._of(text)
        n_choices = len(row.choices or ())
        if n_choices > self.task.max_choices:
            raise DataError(f"{n_choices} choices; this model was tuned for at most {self.task.max_choices}")
        return row if has_column else AskedRow(row.texts)

    def typed(self, line: str) -> AskedRow:
        """The question, then its choices, a bar before each."""
        question, *choices = (part.strip() for part in line.split(_BETWEEN))
        return self._of(lettered(question, choices, 'TEXT="question | choice | choice …"'))

    def rows_of(self, X: Any) -> list[AskedRow]:  # noqa: N803
        """(text, choices) pairs; texts that are lettered already stay."""
        if isinstance(X, str):
            raise DataError(f"X is one string ({X[:40]!r}): expected a list of (text, choices) pairs")
        rows = []
        for number, row in enumerate(X, start=1):
            if isinstance(row, str):
                rows.append(self._of(row))
            elif isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str):
                rows.append(self._of(lettered(row[0], list(row[1]), f"row {number} of X")))
            else:
                raise DataError(f"row {number} of X is a {type(row).__name__}: expected a (text, choices) pair")
        return rows

    def own(self, text: str, kind: Kind, options: Sequence[tuple[str, str]], called: Sequence[str] = ()) -> Own | None:
        """Every choice of as many options as rows may have."""
        if kind != "choice" or len(options) > self.task.max_choices:
            return None
        choices = [f"{name}: {said}" if said else name for name, said in options]
        return Own(lettered(text, choices, "the question"), tuple(range(len(choices))))

    @staticmethod
    def _of(text: str) -> AskedRow:
        return AskedRow((text,), split_lettered(text)[1])


class SeveralPoints(Asking):
    """Rows of which several points are asked: a text a point is scored, and the model reads what they share once."""

    beyond = "several points are asked of each row"
    text_is_asked = False

    @property
    def known(self) -> None:
        """A row's answer is a list, or one a question."""
        return

    @property
    def listed(self) -> tuple[str, ...] | None:
        """The labels of a single question, of which each applies or does not."""
        first, *others = self.task.questions
        return None if others else tuple(label.name for label in first.labels)

    @property
    def size(self) -> str:
        """As of the others."""
        kinds = [_SAID[one.kind].format(len(one.labels)) for one in self.task.questions]
        return kinds[0] if len(kinds) == 1 else f"answers to {len(kinds)} questions"

    @property
    def promise(self) -> str:
        """As of the others."""
        return "Every answer is one of its question's, with a probability for each."

    def said(self, most: int) -> str:
        """As of the others."""
        return "; ".join(_described(one, most) for one in self.task.questions)

    def answerable(self) -> str:
        """As of the others."""
        return f"answers its own questions, by their names: {self.said(_SHOWN_LABELS)}"

    def row(self, text: str, cell: Any = None) -> AskedRow:
        """The text behind which each point is put."""
        return AskedRow(put_all(text, self.task.points))

    def own(self, text: str, kind: Kind, options: Sequence[tuple[str, str]], called: Sequence[str] = ()) -> Own | None:
        """The point that a question means.

        It is known by its name; a choice also by its options, where only one question has them.
        """
        points, questions = self.task.points, self.task.questions
        names = [name for name, _ in options]
        found = list(points_meant(self.task.questions, kind, names, called))
        if kind == "choice" and not found:
            of_choices = [one for one, point in enumerate(points) if questions[point.question].kind == "choice"]
            known = [(place, among(names, answers_to(points[place]))) for place in of_choices]
            found = [(place, columns) for place, columns in known if columns is not None]
        if len(found) != 1:
            return None
        place, at = found[0]
        first, n_answers = columns_of(points)[place].start, len(points[place].answers)
        return Own(put(text, points[place]), tuple(first + one for one in at), len(at) < n_answers)


def asking(task: Task) -> Asking:
    """How rows of a task are asked."""
    if task.by_row:
        return OwnChoices(task)
    return SeveralPoints(task) if task.points else Asking(task)


_SAID = {"choice": "{} labels", "labels": "any of {} labels", "score": "{} levels", "yes_no": "yes or no"}


def _described(question: Question, most: int) -> str:
    names = listed([label.name for label in question.labels], most)
    if question.kind == "yes_no":
        return f"{question.name}: yes or no"
    before = {"choice": "one of", "labels": "any of", "score": "one of the levels"}[question.kind]
    return f"{question.name}: {before} {names}"
