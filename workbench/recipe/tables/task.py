"""``[task]``, its questions, and ``[costs]``: what is asked of a row, and what mistakes cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.questions import Kind, Question
from labelwright.data.costs import Costs
from labelwright.data.task import Label
from labelwright.prompt import Style
from labelwright.settings import Text
from workbench.recipe.tables.fields import Column, Name, Needed, NeededColumn, Price


@dataclass(frozen=True)
class QuestionTable:
    """One of ``[task] questions``: a question about every row, and where its answers stand.

    Attributes
    ----------
    kind : "choice", "labels", "score" or "yes_no"
        One of the labels; any of them; one of them, which are levels in rising order; yes or no.
    column : str or tuple of str
        The column of the answers, which is called as the question is where nothing is said; of kind "labels" also one
        a label, each with yes or no.
    """

    name: Needed
    kind: Kind = "choice"
    labels: tuple[Label, ...] = ()
    instructions: Annotated[str, Text()] = ""
    column: Column | tuple[NeededColumn, ...] = ""

    def asked(self, separator: str) -> AskedColumns:
        """The question with its columns. Raises DataError where they are none, as ``Question`` does."""
        columns = (self.column or self.name,) if isinstance(self.column, str) else self.column
        return AskedColumns(Question(self.name, self.kind, self.labels, self.instructions), columns, separator)


@dataclass(frozen=True)
class TaskTable:
    """``[task]``: what the model is asked to do. Without ``labels`` every label in the data is taken, sorted.

    Attributes
    ----------
    kind : "choice", "labels", "score" or "yes_no"
        What the column of the label holds: one of the labels; any of them; one of them, which are levels in rising
        order; yes or no.
    questions : tuple of QuestionTable
        Several questions about every row, in place of ``kind`` and ``labels``.
    tree : str
        What stands between the parts of labels that are paths ("billing > refund"), such as " > "; empty for a list.
    """

    instructions: Annotated[str, Text(least=1, most=100_000, lines=True)]
    name: Name = ""
    labels: tuple[Label, ...] = ()
    style: Style = "name"
    kind: Kind = "choice"
    questions: tuple[QuestionTable, ...] = ()
    tree: Annotated[str, Text(least=0, most=20)] = ""


@dataclass(frozen=True)
class CostsTable:
    """``[costs]``: what mistakes cost, in any one unit. As it stands, the likeliest label is said.

    Attributes
    ----------
    matrix : mapping of gold label to mapping of answered label to price
        What differs from ``wrong`` and ``right``.
    wrong, right : float
        The price of a mistake, and of a right answer, that ``matrix`` does not list.
    abstain : float
        The price of giving no label, a person's look at the row, say; 0 where nobody can be asked.
    """

    matrix: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)
    wrong: Price = 1.0
    right: Price = 0.0
    abstain: Price = 0.0

    @property
    def prices(self) -> Costs | None:
        """As a task has them; None where all mistakes cost the same and nobody can be asked."""
        return None if self == CostsTable() else Costs.from_dict({**asdict(self), "abstain": self.abstain or None})
