"""Who teaches, and what it says of the pool: asked once, kept beside its results, for all students.

What is learnt of a candidate is what would ship: the calibrated probabilities of the bundle that the comparison kept.
That is opened to ask it, and not to read what it said: a student's memory is measured, and must not be its teacher's.
A model elsewhere stands in a candidate's place where the recipe names one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from labelwright.bundle.store import load
from labelwright.data.task import group_keys, texts_and_labels
from labelwright.errors import RecipeError
from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import Floats, Ints, answers
from labelwright.statistics.proportions import share_interval
from workbench.compare.candidate import Distilled
from workbench.compare.distilled import asking
from workbench.compare.distilled.asking import Chunk, Said, ask, chunks
from workbench.compare.distilled.elsewhere import HostedTeacher
from workbench.compare.jobs import Comparison, Job, measured_code
from workbench.recipe.stages import HOSTED

Say = Callable[[int, int, str], None]


class Teacher(Protocol):
    """Whom students learn from, over dev and the pool."""

    @property
    def name(self) -> str:
        """What it is called where a student is told of."""
        ...

    @property
    def n_left(self) -> int:
        """Rows that it was not asked about yet."""
        ...

    def ask(self, say: Callable[[int, int], object]) -> None:
        """Ask about them, and keep what it says; ``say`` takes how many rows of how many are answered."""
        ...

    def read(self) -> Said:
        """What it said."""
        ...

    @property
    def spent(self) -> tuple[int, int, float | None]:
        """Tokens in and out, and dollars where they are known, of somebody who is paid by these."""
        ...


@dataclass(frozen=True)
class Taught:
    """What a teacher says.

    Attributes
    ----------
    texts : list of str
        Of the pool, those that it answers.
    probs : ndarray of shape (n_texts, n_labels)
        In the task's order of labels.
    said_of_dev : ndarray of shape (n_dev,)
        Positions of the labels that it gives the dev rows; -1 of none.
    n_silent : int
        Rows of the pool that it gave no answer to.
    spent : (int, int, float or None)
        As ``Teacher.spent``.
    """

    teacher: str
    texts: list[str]
    probs: Floats
    said_of_dev: Ints
    n_silent: int
    spent: tuple[int, int, float | None] = (0, 0, None)

    def told(self, comparison: Comparison, job: Job, of_dev: Floats) -> Distilled:
        """What there is to say of a student of these rows; ``of_dev`` is what that says of dev."""
        dev = comparison.splits_of(job).dev
        groups, said = group_keys(dev), self.said_of_dev
        agreement = Interval(*share_interval(answers(of_dev) == said, groups))
        right = np.array([comparison.task.index(row.label) for row in dev]) == said
        left_out = dict(comparison.unlabelled.left_out) | {"silent": self.n_silent}
        n_in, n_out, price = self.spent
        return Distilled(
            self.teacher,
            len(self.texts),
            left_out,
            agreement,
            source=comparison.unlabelled.source,
            hosted=bool(comparison.recipe.distil.hosted_model),
            right=Interval(*share_interval(right, groups)),
            n_in=n_in,
            n_out=n_out,
            price=price,
        )


class _OfCandidate:
    """A candidate of the comparison that has results: its bundle answers, calibrated."""

    spent = (0, 0, None)

    def __init__(self, comparison: Comparison, name: str, left: str) -> None:
        self.name, self._comparison = name, comparison
        self._main = comparison.jobs(name)[0]
        dev, place = texts_and_labels(comparison.splits_of(self._main).dev)[0], comparison.place(self._main)
        self._n_dev, who = len(dev), [left, measured_code(asking.__name__)]
        texts = [*dev, *comparison.unlabelled.texts]
        self._chunks = chunks(texts, place.with_name(f"{place.name}-pool"), who)

    @property
    def n_left(self) -> int:
        return sum(len(one.texts) for one in self._left)

    def ask(self, say: Callable[[int, int], object]) -> None:
        bundle = load(self._comparison.place(self._main))
        ask(self._left, bundle, self._comparison.engines(bundle.weights), say)

    def read(self) -> Said:
        probs = np.vstack([one.read() for one in self._chunks])
        return Said(answers(probs[: self._n_dev]), probs[self._n_dev :])

    @property
    def _left(self) -> Sequence[Chunk]:
        return [one for one in self._chunks if not one.path.is_file()]


def check_teacher(comparison: Comparison) -> None:
    """Refuse a model elsewhere that may not be asked about all rows, before anything is trained. Raises RecipeError."""
    if comparison.recipe.distil.hosted_model:
        for name in list(comparison.distilled)[:1]:  # all of them have one teacher
            _hosted(comparison, comparison.jobs(name)[0]).check()


def to_ask(comparison: Comparison, job: Job) -> tuple[str, int]:
    """Who teaches a job, and how many rows it was not asked yet; nobody and none where no teacher has results."""
    teacher = _teacher(comparison, job)
    return ("", 0) if teacher is None else (comparison.teacher(), teacher.n_left)


def ask_teacher(comparison: Comparison, job: Job, say: Say) -> None:
    """Ask a job's teacher what is not kept of its answers to dev and to the pool."""
    teacher = _needed(comparison, job)

    def tell(done: int, total: int) -> None:
        say(done, total, f"{teacher.name} answers the pool, {done:,} of {total:,} rows")

    teacher.ask(tell)


def teach(comparison: Comparison, job: Job) -> Taught:
    """A teacher's kept answers to the pool and to dev. Raises RecipeError for nobody."""
    teacher, texts = _needed(comparison, job), comparison.unlabelled.texts
    of_dev, of_pool = teacher.read()
    said = answers(of_pool) >= 0
    if not said.any():
        raise RecipeError(f"{job.candidate}: {teacher.name} answers no row of {comparison.unlabelled.source}")
    known = [text for text, is_said in zip(texts, said.tolist(), strict=True) if is_said]
    return Taught(teacher.name, known, of_pool[said], of_dev, int((~said).sum()), teacher.spent)


def _needed(comparison: Comparison, job: Job) -> Teacher:
    if (teacher := _teacher(comparison, job)) is None:
        who = comparison.recipe.distil.teacher or "nobody who could teach"
        raise RecipeError(f"{job.candidate}: no results of its teacher ({who}): compare that first")
    return teacher


def _teacher(comparison: Comparison, job: Job) -> Teacher | None:
    """Who teaches a job; None where nobody who could has results."""
    found = comparison.available(job)
    for name, left in found.items():
        if name != HOSTED:
            return _OfCandidate(comparison, name, left)
        return _hosted(comparison, job)
    return None


def _hosted(comparison: Comparison, job: Job) -> HostedTeacher:
    elsewhere, dev = comparison.recipe.distil.elsewhere, comparison.splits_of(job).dev
    return HostedTeacher(elsewhere, comparison.task, comparison.root / HOSTED, dev, comparison.unlabelled)
