"""Who teaches, and what it says of the pool: asked once, kept beside its results, for all students.

What is learnt is what would ship: the calibrated probabilities of the bundle that the comparison kept of the teacher.
That is opened to ask it, and not to read what it said: a student's memory is measured, and must not be its teacher's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labelwright.bundle.store import load
from labelwright.data.task import group_keys, texts_and_labels
from labelwright.errors import RecipeError
from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import Floats, answers
from labelwright.statistics.proportions import share_interval
from workbench.compare.candidate import Distilled
from workbench.compare.distilled import asking
from workbench.compare.distilled.asking import Chunk, ask, chunks
from workbench.compare.jobs import Comparison, Job, measured_code

Say = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Taught:
    """What a teacher says.

    Attributes
    ----------
    texts : list of str
        Of the pool, those that it answers.
    probs : ndarray of shape (n_texts, n_labels)
        In the task's order of labels.
    of_dev : ndarray of shape (n_dev, n_labels)
        Likewise of the dev rows; zeros where it gives no answer.
    n_silent : int
        Rows of the pool that it gave no answer to.
    """

    teacher: str
    texts: list[str]
    probs: Floats
    of_dev: Floats
    n_silent: int

    def told(self, comparison: Comparison, of_dev: Floats) -> Distilled:
        """What there is to say of a student of these rows; ``of_dev`` is what that says of dev."""
        dev = comparison.splits_of(comparison.jobs(self.teacher)[0]).dev
        agreement = Interval(*share_interval(answers(of_dev) == answers(self.of_dev), group_keys(dev)))
        left_out = dict(comparison.unlabelled.left_out) | {"silent": self.n_silent}
        return Distilled(self.teacher, len(self.texts), left_out, agreement)


def to_ask(comparison: Comparison, job: Job) -> tuple[str, int]:
    """Who teaches a job, and how many rows it was not asked yet; nobody and none where no teacher has results."""
    teacher, _, asked = _asked(comparison, job)
    return teacher, sum(len(one.texts) for one in _left(asked))


def ask_teacher(comparison: Comparison, job: Job, say: Say) -> None:
    """Ask a job's teacher what is not kept of its answers to dev and to the pool."""
    teacher, _, asked = _asked(comparison, job)
    bundle = load(comparison.place(comparison.jobs(teacher)[0]))

    def tell(done: int, total: int) -> None:
        say(done, total, f"{teacher} answers the pool, {done:,} of {total:,} rows")

    ask(_left(asked), bundle, comparison.engines(bundle.weights), tell)


def teach(comparison: Comparison, job: Job) -> Taught:
    """A teacher's kept answers to the pool and to dev. Raises RecipeError for nobody."""
    teacher, n_dev, asked = _asked(comparison, job)
    if not teacher:
        who = comparison.recipe.distil.teacher or "nobody who could teach"
        raise RecipeError(f"{job.candidate}: no results of its teacher ({who}): compare that first")
    probs, texts = np.vstack([one.read() for one in asked]), comparison.unlabelled.texts
    of_dev, of_pool = probs[:n_dev], probs[n_dev:]
    said = answers(of_pool) >= 0
    known = [text for text, is_said in zip(texts, said.tolist(), strict=True) if is_said]
    return Taught(teacher, known, of_pool[said], of_dev, int((~said).sum()))


def _asked(comparison: Comparison, job: Job) -> tuple[str, int, list[Chunk]]:
    """Who teaches, how many dev rows there are, and these and the pool in chunks; nobody where none has results."""
    if not (found := comparison.available(job)):
        return "", 0, []
    ((teacher, left),) = found.items()
    main = comparison.jobs(teacher)[0]
    dev, place = texts_and_labels(comparison.splits_of(main).dev)[0], comparison.place(main)
    who = [left, measured_code(asking.__name__)]
    return teacher, len(dev), chunks([*dev, *comparison.unlabelled.texts], place.with_name(f"{place.name}-pool"), who)


def _left(asked: Sequence[Chunk]) -> list[Chunk]:
    return [one for one in asked if not one.path.is_file()]
