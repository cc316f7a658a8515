"""A teacher that is a model elsewhere: it answers dev and the pool with labels, which become probabilities.

The idea: such a model says one label and not how sure it is. What a label of its is worth, its answers to the dev rows
show: of those that it called "pool", so many are. Each label that it can say has a row of shares of the right ones,
drawn towards what it is worth on average, since few dev rows have each (Dirichlet smoothing; the shares are those of
Dawid and Skene 1979). So students learn its usual mistakes as mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from labelwright.data.task import Example, Task
from labelwright.errors import RecipeError
from labelwright.files import read_json, short_hash, write_json
from labelwright.statistics.metrics import Floats, Ints
from workbench.compare.distilled.asking import Said
from workbench.compare.hosted.asking import NO_LABEL, HostedModel
from workbench.recipe.beside.unlabelled import Unlabelled
from workbench.recipe.tables.candidates import Elsewhere

# So many dev rows' weight has the average over all labels, beside those of a label.
_SMOOTHING_ROWS = 5.0


def worth(said: Ints, right: Ints, n_labels: int) -> Floats:
    """What each label that is said is worth: shares of the right labels, (n_labels said, n_labels right).

    Parameters
    ----------
    said, right : ndarray of shape (n_rows,)
        Positions of labels; below 0 what is none.

    Examples
    --------
    >>> worth(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2).round(2)
    array([[0.67, 0.33],
           [0.28, 0.72]])
    """
    is_said = said >= 0
    hits = int((said == right)[is_said].sum())
    average = (hits + 1) / (int(is_said.sum()) + 2)
    prior = np.full((n_labels, n_labels), (1 - average) / max(1, n_labels - 1))
    np.fill_diagonal(prior, average if n_labels > 1 else 1.0)
    counts = np.zeros((n_labels, n_labels))
    np.add.at(counts, (said[is_said], right[is_said]), 1.0)
    shares: Floats = (counts + _SMOOTHING_ROWS * prior) / (counts.sum(axis=1, keepdims=True) + _SMOOTHING_ROWS)
    return shares


class HostedTeacher:
    """A model elsewhere, and the rows that it is asked about.

    Parameters
    ----------
    folder : Path
        Where its answers are kept.
    dev : sequence of Example
        Rows with labels, which show what its answers are worth.
    pool : Unlabelled
        What students learn.
    """

    def __init__(
        self, elsewhere: Elsewhere, task: Task, folder: Path, dev: Sequence[Example], pool: Unlabelled
    ) -> None:
        rows = [Example(f"pool:{number}", text, "") for number, text in enumerate(pool.texts)]
        self._elsewhere, self._dev, self._rows = elsewhere, dev, [*dev, *rows]
        self._which = f"dev and {pool.source}"
        self._n_labels = len(task.names)
        self._gold = np.array([task.index(row.label) for row in dev], dtype=np.int64)
        self._asked_of = (elsewhere, task, folder, self._rows, self._which)
        self._model = HostedModel(*self._asked_of)
        # Rows that its server did not take have no answer to be kept: that all were asked about is.
        self._asked = folder / f"asked-{short_hash([elsewhere.url, self._model.key(self._rows)])}.json"

    @property
    def name(self) -> str:
        """As DSPy, or its server, calls it."""
        return self._elsewhere.model

    @property
    def n_left(self) -> int:
        """Rows that it was not asked about yet."""
        n_left = self._model.n_left(self._rows)
        return 0 if self._refused_known == n_left else n_left

    @property
    def _refused_known(self) -> int:
        """How many rows had no answer when all had been asked about; 0 before that."""
        return int(read_json(self._asked)["without_answer"]) if self._asked.is_file() else 0

    def check(self) -> None:
        """Refuse before anybody is asked or trained where there are more rows than it may be asked about.

        Raises
        ------
        RecipeError
            How many questions it takes.
        """
        calls, needed = self._elsewhere.calls, self._model.n_needed(self._rows)
        if needed <= calls or not self.n_left:
            return
        room = calls - self._model.n_needed(self._dev)
        fewer = f", or most_rows to {room:,} at most" if room > 0 else ""
        raise RecipeError(
            f"[distil] hosted_calls = {calls:,}: {self.name} is to answer {self._which}, which takes {needed:,} "
            f"questions, those included that are answered: set hosted_calls to as many{fewer}"
        )

    def ask(self, say: Callable[[int, int], object]) -> None:
        """Ask about every row that has no answer; each answer is kept as it comes.

        Parameters
        ----------
        say : callable
            Takes how many rows of how many are answered.

        Raises
        ------
        LabelwrightError
            As ``HostedModel.answer``.
        """
        n_rows = len({row.text.strip() for row in self._rows})
        self._model.answer(self._rows, lambda n_done: say(n_done, n_rows))
        # Not by who asked here, who counts a refused row as answered, but by what is on disk.
        kept = HostedModel(*self._asked_of)
        write_json(self._asked, {"rows": n_rows, "without_answer": kept.n_left(self._rows)})

    def read(self) -> Said:
        """What it said of dev and of the pool."""
        said, n_dev = self._model.kept(self._rows), len(self._dev)
        shares = worth(said[:n_dev], self._gold, self._n_labels)
        of_pool = np.where((said >= 0)[:, None], shares[np.maximum(said, 0)], 0.0)[n_dev:]
        return Said(np.maximum(said[:n_dev], NO_LABEL), of_pool)

    @property
    def spent(self) -> tuple[int, int, float | None]:
        """Tokens in and out of the answers that were read, and dollars; None where DSPy does not know these."""
        return (*self._model.tokens, self._model.price)
