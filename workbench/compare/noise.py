"""Rows whose label is probably wrong: where confident classifiers agree with each other and not with the label.

Two sieves. Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", by the authors' library cleanlab) finds rows whose label is unlikely, given how confident the classifiers are
of each label elsewhere; of those, only rows are kept on which all of them give one and the same other answer.

The classifiers must not have learnt from the rows they are asked about: test rows, or train rows out of fold.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.data.task import Example
from labelwright.errors import MissingExtraError
from labelwright.statistics.metrics import answers, checked
from workbench.compare.board import Side, Suspect


def suspects(
    side: Side,
    examples: Sequence[Example],
    probs_by_candidate: Mapping[str, NDArray[np.float64]],
    names: Sequence[str],
) -> tuple[Suspect, ...]:
    """Rows whose label all of the candidates doubt, the surest first.

    Parameters
    ----------
    side : Side
        The split that the rows are of, to be told.
    examples : sequence of n_rows Example
    probs_by_candidate : mapping of name to ndarray of shape (n_rows, n_labels)
        Calibrated, in the order of ``names``. Candidates of different families, or agreement says little. One alone is
        taken at its word.

    Raises
    ------
    DataError
        Probabilities that are none, or of another shape than rows and labels.
    MissingExtraError
        cleanlab is not installed.
    """
    given = np.array([names.index(str(row.label)) for row in examples], dtype=np.int64)
    if not probs_by_candidate or len(given) == 0:
        return ()
    probs = np.stack([checked(one, given, names)[0] for one in probs_by_candidate.values()])
    mean = probs.mean(axis=0)
    said = answers(probs)
    agreed = (said == said[0]).all(axis=0) & (said[0] != given) & (said[0] >= 0)
    rows = np.flatnonzero(agreed & _unlikely(given, mean))
    found = [
        Suspect(
            side=side,
            id=examples[i].id,
            text=examples[i].text,
            label=names[given[i]],
            suggested=names[said[0, i]],
            confidence=float(mean[i, said[0, i]]),
            candidates=tuple(probs_by_candidate),
        )
        for i in rows.tolist()
    ]
    return tuple(sorted(found, key=lambda one: -one.confidence))


def _unlikely(given: NDArray[np.int64], probs: NDArray[np.float64]) -> Any:
    """Confident learning's issues, of shape (n_rows,): what pruning by class and by noise rate both would leave out."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise MissingExtraError('finding wrong labels needs cleanlab: pip install "labelwright[tune]"') from error
    # A label without rows, or of a single row, is told by our own checks; cleanlab's warnings say nothing more.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # One process: the work takes milliseconds, and a fork of a process that holds a model does not.
        return find_label_issues(given, probs, filter_by="both", n_jobs=1)
