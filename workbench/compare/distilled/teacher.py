"""Who teaches, and what it says of the pool: asked once, kept beside its results, for all students.

What is learnt is what would ship: the calibrated probabilities of the bundle that the comparison kept of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from labelwright.bundle.store import load
from labelwright.data.task import group_keys, texts_and_labels
from labelwright.errors import RecipeError
from labelwright.files import short_hash
from labelwright.labelling import score_rows
from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import Floats, answers
from labelwright.statistics.proportions import share_interval
from workbench.compare.candidate import Distilled
from workbench.compare.jobs import Comparison, Job

# Rows that are asked at once, between two words on how far it is.
_CHUNK_ROWS = 256
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


def teach(comparison: Comparison, job: Job, say: Say) -> Taught:
    """A teacher's answers to the pool and to dev, asked now where they are not kept. Raises RecipeError for nobody."""
    found = comparison.available(job)
    if not found:
        who = comparison.recipe.distil.teacher or "nobody who could teach"
        raise RecipeError(f"{job.candidate}: no results of its teacher ({who}): compare that first")
    ((teacher, left),) = found.items()
    pool, place = comparison.unlabelled, comparison.place(comparison.jobs(teacher)[0])
    dev = texts_and_labels(comparison.splits_of(comparison.jobs(teacher)[0]).dev)[0]
    path = place.with_name(f"{place.name}-pool-{short_hash([left, pool.digest])}.npz")
    if not path.is_file():
        asked = np.vstack(list(_asked(comparison, teacher, [*dev, *pool.texts], say)))
        part = path.with_name(f".{path.name}.part.npz")
        np.savez(part, probs=asked)
        part.replace(path)
    with np.load(path, allow_pickle=False) as kept:
        probs = kept["probs"]
    of_dev, of_pool = probs[: len(dev)], probs[len(dev) :]
    said = answers(of_pool) >= 0
    texts = [text for text, is_said in zip(pool.texts, said.tolist(), strict=True) if is_said]
    return Taught(teacher, texts, of_pool[said], of_dev, int((~said).sum()))


def _asked(comparison: Comparison, teacher: str, texts: Sequence[str], say: Say) -> Iterator[Floats]:
    """Probabilities chunk by chunk; zeros of a row that is refused: too long, say."""
    bundle = load(comparison.place(comparison.jobs(teacher)[0]))
    engine, silent = comparison.engines(bundle.weights), np.zeros(len(comparison.task.names))
    for start in range(0, len(texts), _CHUNK_ROWS):
        say(start, len(texts), f"{teacher} answers the pool, {start:,} of {len(texts):,} rows")
        found = score_rows(bundle, engine, texts[start : start + _CHUNK_ROWS])
        yield np.stack([one if isinstance(one, np.ndarray) else silent for one in found])
