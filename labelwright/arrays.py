"""What scikit-learn hands over as X and y, checked: every estimator of the house reads its rows through here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import DataError


def texts_of(X: Any) -> list[str]:  # noqa: N803 (scikit-learn's name)
    """X as a list of texts. Raises DataError for one string, or a row that is not text."""
    if isinstance(X, str):
        raise DataError(f"X is one string ({X[:40]!r}): expected a list of texts")
    texts = list(X)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise DataError(f"row {number} of X is a {type(text).__name__}: expected texts, one a row")
    return [str(text) for text in texts]


def encoded_labels(y: Any, n_rows: int, known: Sequence[Any] | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The labels, sorted, and the position of each row's label among them.

    Parameters
    ----------
    n_rows : int
        How many labels are expected.
    known : sequence, optional
        The only labels allowed.

    Raises
    ------
    DataError
        Another number of labels, labels that cannot be sorted, fewer than two, or one outside ``known``.
    """
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise DataError(f"y has the shape {labels.shape}: expected one label a row")
    if len(labels) != n_rows:
        raise DataError(f"{n_rows} texts and {len(labels)} labels: expected one label a text")
    try:
        classes, gold = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise DataError(f"y cannot be sorted ({error}): expected labels of one type, none missing") from error
    if known is not None:
        unknown = [one for one in classes.tolist() if one not in known]
        if unknown:
            raise DataError(
                f"label {unknown[0]!r} is not one of the {len(known)} labels: correct the row, or add the label"
            )
    if len(classes) < 2:
        raise DataError(f"y has {len(classes)} different label(s): a classifier needs at least two")
    return classes, gold.astype(np.int64)
