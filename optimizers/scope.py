"""Fits a bundle's scope: the sketch of what was taught, and the threshold that keeps rows in scope.

The comparison calls it for every candidate, where the recipe says that there are rows out of scope. None of these is
needed: the sketch is of train rows, the threshold of calib rows. Where some are given, they teach a "none of these"
beside the score, and others choose between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from labelwright.data.task import Example
from labelwright.decisions.scope import Preference, Scope, Vectors
from labelwright.errors import MissingExtraError, ModelError
from labelwright.predictors.encoders.sentence_encoder import DEFAULT, open_encoder
from labelwright.statistics.metrics import Floats

# Of rows in scope, the share that is to be answered.
KEPT = 0.95
# Vectors in a bundle, at most: 3 MB of 384 float32 each.
MOST_VECTORS = 2000


# Of the logistic regression on unit vectors that tells "none of these" (``python -m bench.decisions.none_of_these``).
NONE_STRENGTH = 1.0


@dataclass(frozen=True)
class Outside:
    """Rows out of scope that are no test rows.

    Attributes
    ----------
    taught, calib : sequence of Example
        To teach a "none of these", and to choose whether it is used.
    probs : ndarray of shape (n_outside_calib, n_labels)
        What the classifier says of ``calib``.
    """

    taught: Sequence[Example] = ()
    calib: Sequence[Example] = ()
    probs: Floats = field(default_factory=lambda: np.zeros((0, 0)))


def fit_scope(
    train: Sequence[Example],
    calib: Sequence[Example],
    probs: Floats,
    encoder: str = DEFAULT,
    outside: Outside | None = None,
) -> Scope:
    """The scope of a classifier.

    Parameters
    ----------
    probs : ndarray of shape (n_calib, n_labels)
        Calibrated, of the calib rows.
    encoder : str
        Where it cannot be had, certainty alone is scored, and nothing is taught.
    outside : Outside, optional
        Where both its sides have rows, the score with a trained "none of these" is taken if it tells calib rows in
        scope from those out of scope more often.
    """
    sketched: Vectors = np.zeros((0, 0), dtype=np.float32)
    try:
        vectors = open_encoder(encoder).embed([row.text for row in train], remember=True)
    except (MissingExtraError, ModelError):
        encoder = ""
    else:
        sketched = sketch(vectors, [row.label for row in train])
    scope, texts = Scope(-np.inf, KEPT, len(calib), encoder, sketched), [row.text for row in calib]
    scores = scope.scores(texts, probs)
    if encoder and outside and outside.taught and outside.calib:
        taught = open_encoder(encoder).embed([row.text for row in outside.taught], remember=True)
        trained = replace(scope, none=none_of_these(vectors, taught))
        of_out, with_none = [row.text for row in outside.calib], trained.scores(texts, probs)
        found = Preference(
            len(outside.taught),
            len(outside.calib),
            _auroc(scores, scope.scores(of_out, outside.probs)),
            _auroc(with_none, trained.scores(of_out, outside.probs)),
        )
        if found.trained > found.score:
            scope, scores = trained, with_none
        scope = replace(scope, preference=found)
    return replace(scope, threshold=threshold(scores, KEPT))


def none_of_these(inside: Vectors, outside: Vectors) -> Vectors:
    """``Scope.none``, of vectors of rows in scope and out of it: a logistic regression to which both count alike."""
    from sklearn.linear_model import LogisticRegression

    is_inside = np.repeat([1, 0], [len(inside), len(outside)])
    fitted = LogisticRegression(C=NONE_STRENGTH, class_weight="balanced", max_iter=1000)
    fitted.fit(np.concatenate([inside, outside]), is_inside)
    return np.append(fitted.coef_[0], fitted.intercept_).astype(np.float32)


def _auroc(inside: Floats, outside: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([1, 0], [len(inside), len(outside)]), np.concatenate([inside, outside])))


def sketch(vectors: Vectors, labels: Sequence[str], most: int = MOST_VECTORS) -> Vectors:
    """At most ``most`` unit vectors that stand for the rows: all of them, or of labels with many rows cluster centres.

    Parameters
    ----------
    vectors : float32 ndarray of shape (n_rows, n_dimensions)
        Unit vectors.
    """
    from sklearn.cluster import KMeans

    if len(vectors) <= most:
        return vectors
    of_label = [np.flatnonzero(np.asarray(labels) == label) for label in sorted(set(labels))]
    each = max(most // len(of_label), 1)
    found = []
    for rows in of_label:
        own = vectors[rows]
        if len(own) > each:
            centres = KMeans(each, n_init=1, max_iter=20, random_state=0).fit(own).cluster_centers_
            own = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        found.append(own)
    return np.ascontiguousarray(np.concatenate(found)[:most], dtype=np.float32)


def threshold(scores: Floats, kept: float) -> float:
    """The score below which about 1 - ``kept`` of rows in scope fall, on average over draws of the rows it is of.

    The k-th smallest of n with k = floor((1 - kept) (n + 1)): of exchangeable rows another one is below it with a
    probability of k / (n + 1) at most (split conformal prediction, Vovk et al. 2005). Calib rows are not quite: the
    calibration was fitted on a part of them and rows of one group are alike, so that it is somewhat more. Minus
    infinity where k is 0.

    >>> threshold(np.arange(99.0), 0.95), threshold(np.arange(10.0), 0.95)
    (4.0, -inf)
    """
    k = int(np.floor((1 - kept) * (len(scores) + 1) + 1e-9))
    return float(np.sort(scores)[k - 1]) if k else float("-inf")
