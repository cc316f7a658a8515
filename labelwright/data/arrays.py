"""What scikit-learn hands over as X and y, checked: every estimator of the house reads its rows through here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import DataError


def texts_of(X: Any) -> list[str]:  # noqa: N803 (scikit-learn's name)
    """X as a list of texts, half characters (lone surrogates) replaced by "?", as no encoding has them.

    Raises DataError for one string, a table, or a row that is not text.
    """
    if isinstance(X, str):
        raise DataError(f"X is one string ({X[:40]!r}): expected a list of texts")
    if getattr(X, "ndim", 1) != 1:
        raise DataError(f"X has the shape {X.shape}: expected texts, one a row (one column of a table)")
    try:
        texts = list(X)
    except TypeError as error:
        raise DataError(f"X is a {type(X).__name__}: expected a list of texts") from error
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise DataError(f"row {number} of X is a {type(text).__name__}: expected texts, one a row")
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def encoded_labels(y: Any, n_rows: int, known: Sequence[Any] | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The labels, sorted, and the position of each row's label among them.

    Parameters
    ----------
    n_rows : int
        How many labels are expected.
    known : sequence, optional
        The only labels allowed.

    Returns
    -------
    classes : ndarray of shape (n_labels,)
        Sorted; of a str dtype where labels are text.
    gold : int64 array (n_rows,)

    Raises
    ------
    DataError
        Another number of labels, labels that cannot be sorted, a missing one, fewer than two, or one outside ``known``.
    """
    labels = np.asarray(y, dtype=object if isinstance(y, list | tuple) else None)
    if labels.ndim != 1:
        raise DataError(f"y has the shape {labels.shape}: expected one label a row")
    if len(labels) != n_rows:
        raise DataError(f"{n_rows} texts and {len(labels)} labels: expected one label a text")
    if labels.dtype == object:
        # What numpy makes of a list turns numbers among texts into texts, unasked.
        labels = np.asarray(labels.tolist()) if len({isinstance(one, str) for one in labels}) == 1 else labels
    try:
        classes, gold = np.unique(labels, return_inverse=True)
        missing = bool((classes != classes).any())
    except TypeError as error:
        raise DataError(f"y cannot be sorted ({error}): expected labels of one type, none missing") from error
    if missing:
        raise DataError("y has a label that is not a number (nan): fill it in, or leave the row out")
    unknown = [] if known is None else [one for one in classes.tolist() if one not in known]
    if unknown:
        raise DataError(f"label {unknown[0]!r} is not one of the {len(known or ())} labels: {_remedy(unknown, known)}")
    if len(classes) < 2:
        raise DataError(f"y has {len(classes)} different label(s): a classifier needs at least two")
    return classes, gold.astype(np.int64)


def _remedy(unknown: list[Any], known: Sequence[Any] | None) -> str:
    if isinstance(unknown[0], int) and all(isinstance(one, str) for one in known or ()):
        # sklearn.model_selection.cross_val_predict does this for every method but "predict".
        return (
            "give the names; where scikit-learn put numbers in their place, as cross_val_predict does for "
            'probabilities, use method="predict", or cross_val_score'
        )
    return "correct the row, or add the label"
