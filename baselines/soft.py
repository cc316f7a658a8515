"""Rows that a teacher labelled with probabilities, for estimators that only know labels and weights.

The idea: the cross-entropy of a row against probabilities p is the sum over labels k of p_k times the row's loss under
label k. So a row is written once a label, each time with that label's probability as its weight, and any loss over
labels that takes weights learns the probabilities themselves: logistic regression, multinomial or one a label, and
hinge losses. Labels that the teacher all but rules out are left out, or 77 labels would make 77 rows of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwright.data.arrays import texts_of
from labelwright.errors import DataError

# Of a row the labels that are learnt: so many at most, each of so much probability at least.
MOST_LABELS = 3
LEAST_PROBABILITY = 0.05


class SoftRows(NamedTuple):
    """Texts with a probability for each label.

    Attributes
    ----------
    texts : list of str
    probs : float64 array (n_rows, n_labels)
        Columns are the classes of the training rows; each row sums to 1.
    """

    texts: list[str]
    probs: NDArray[np.float64]


class Weighted(NamedTuple):
    """Rows with a label and a weight, all three of shape (n,); ``row`` says which text each is of."""

    row: NDArray[np.int64]
    gold: NDArray[np.int64]
    weight: NDArray[np.float64]


def read_soft(given: tuple[Any, Any, Any] | None, classes: NDArray[Any]) -> SoftRows | None:
    """Texts, labels and probabilities, the columns put in the order of ``classes``; None for None.

    Labels that are no class have no training row, so nobody could learn them: what is left of a row is made to sum
    to 1, and a row of which nothing is left is left out.

    Raises
    ------
    DataError
        Shapes that do not fit; numbers that are no probabilities.
    """
    if given is None:
        return None
    texts, labels, probs = texts_of(given[0]), list(given[1]), np.asarray(given[2], dtype=np.float64)
    if probs.shape != (len(texts), len(labels)):
        raise DataError(
            f"probabilities of shape {probs.shape} for {len(texts)} texts and {len(labels)} labels: expected one a "
            "text and label"
        )
    if not (np.isfinite(probs).all() and (probs >= 0).all()):
        raise DataError("probabilities that are no numbers of 0 or more: expected those of a classifier")
    column = {label: k for k, label in enumerate(labels)}
    kept = np.zeros((len(texts), len(classes)))
    for k, label in enumerate(classes.tolist()):
        if label in column:
            kept[:, k] = probs[:, column[label]]
    sums = kept.sum(axis=1)
    said = np.flatnonzero(sums > 0)
    return SoftRows([texts[row] for row in said], kept[said] / sums[said, None])


def weighted(gold: NDArray[np.int64], soft: NDArray[np.float64]) -> Weighted:
    """Labelled rows, which count 1 under their label, and behind them soft ones, a row for each label that is learnt.

    Parameters
    ----------
    gold : int64 array (n_labelled,)
    soft : float64 array (n_soft, n_labels)
        Their weights, of a row, sum to 1 as well.

    Examples
    --------
    >>> weighted(np.array([2]), np.array([[0.75, 0.25, 0.0]]))
    Weighted(row=array([0, 1, 1]), gold=array([2, 0, 1]), weight=array([1.  , 0.75, 0.25]))
    """
    n_labels = min(MOST_LABELS, soft.shape[1])
    likeliest = np.argsort(-soft, axis=1, kind="stable")[:, :n_labels]
    kept = np.take_along_axis(soft, likeliest, axis=1)
    # Of very many labels that are all alike none has so much, and the first still counts.
    kept[:, 1:][kept[:, 1:] < LEAST_PROBABILITY] = 0.0
    kept /= kept.sum(axis=1, keepdims=True)
    row, place = np.nonzero(kept)
    return Weighted(
        np.concatenate([np.arange(len(gold)), row + len(gold)]),
        np.concatenate([gold, likeliest[row, place]]),
        np.concatenate([np.ones(len(gold)), kept[row, place]]),
    )


def soft_cost(probs: NDArray[np.float64], soft: NDArray[np.float64]) -> float:
    """Cross-entropy of answers against a teacher's probabilities, both (n_rows, n_labels), a row."""
    return -float((soft * np.log(np.clip(probs, 1e-6, 1))).sum() / max(1, len(soft)))


def texts_of_both(labelled: Sequence[str], soft: SoftRows | None) -> list[str]:
    """Labelled texts, and soft ones behind them."""
    return [*labelled, *(soft.texts if soft else [])]
