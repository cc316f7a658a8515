"""How good a classifier is, from its probabilities and the gold labels. numpy only.

Every metric takes ``probs`` (n_rows, n_labels), ``gold`` (n_rows,) as label positions, and row ``weights`` of shape
(..., n_rows), and answers with shape (...): without weights that is the metric, with resampling counts as weights it
is a whole bootstrap in one call (``labelwright.statistics.intervals``). The predicted label is the first one of highest
probability, the confidence is that probability. A row of zeros has no answer (``answers``). In place of ``probs`` every
metric takes the ``Answers`` read off them, so that many classifiers can be measured without all their probabilities in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Naeini et al. 2015 take ten. More bins would leave a small test split a dozen rows each, and mostly noise to average.
ECE_BINS = 10
_SUM_TOLERANCE = 1e-3
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Answers:
    """All that the metrics need of a classifier's probabilities, each of shape (n_rows,).

    Attributes
    ----------
    answer : int64 ndarray
        The predicted label: the first one of highest probability; -1 where there is none.
    confidence, at_gold, square : float64 ndarray
        The highest probability, that of the gold label, and the sum of all squares. Where there is no answer, 0, and
        what they are where every label has the same.
    n_labels : int
        Columns that the probabilities had.
    """

    answer: Ints
    confidence: Floats
    at_gold: Floats
    square: Floats
    n_labels: int


def answers_of(probs: Floats | Answers, gold: Ints) -> Answers:
    """What the metrics need of ``probs``; answers are given back as they are."""
    if isinstance(probs, Answers):
        return probs
    rows = np.arange(len(gold))
    answer, even = answers(probs), 1 / probs.shape[1]
    at_gold = np.where(answer < 0, even, probs[rows, gold])
    square = np.where(answer < 0, even, np.einsum("ij,ij->i", probs, probs))
    return Answers(answer, probs.max(axis=1), at_gold, square, probs.shape[1])


def evaluate(probs: Floats, gold: Ints, names: Sequence[str] | None = None) -> dict[str, float]:
    """All metrics of ``METRICS`` by name, as plain floats; with them ``n_invalid``, rows without an answer, if any.

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels)
        Each row sums to 1, or is 0 throughout where there is no answer.
    gold : int ndarray of shape (n_rows,)
        Positions of the right labels.
    names : sequence of str, optional
        The labels, to check that the columns are theirs.

    Raises
    ------
    DataError
        Shapes that do not fit, no rows, a gold position outside the columns, rows that are not probabilities.

    Examples
    --------
    >>> evaluate(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([0, 1]))["accuracy"]
    0.5
    """
    probs, gold = checked(probs, gold, names)
    n_invalid = float((answers(probs) < 0).sum())
    measured = {name: float(metric(probs, gold)) for name, metric in METRICS.items()}
    return measured | ({"n_invalid": n_invalid} if n_invalid else {})


def answers(probs: Floats) -> Ints:
    """The position of each row's predicted label, (...,) for probabilities (..., n_labels); -1 where there is none.

    A row has no answer where no label is possible, each having the probability 0: nothing usable was said. It is wrong
    whatever is gold, its confidence is 0, and what it says of the labels is that it cannot tell them apart.

    >>> answers(np.array([[0.2, 0.8], [0.0, 0.0]]))
    array([ 1, -1])
    """
    return np.where((probs > 0).any(axis=-1), probs.argmax(axis=-1), -1)


def checked(probs: Any, gold: Any, names: Sequence[str] | None = None) -> tuple[Floats, Ints]:
    """``probs`` and ``gold`` as float64 and int64 arrays. Raises DataError as ``evaluate`` does."""
    probs, gold = np.asarray(probs, dtype=np.float64), np.asarray(gold)
    if probs.ndim != 2 or gold.shape != probs.shape[:1] or len(gold) == 0:
        raise DataError(
            f"probabilities of shape {probs.shape} and gold labels of shape {gold.shape}: expected (n_rows, n_labels) "
            f"and (n_rows,) with at least one row"
        )
    n_labels = probs.shape[1]
    if names is not None and len(names) != n_labels:
        raise DataError(f"{n_labels} columns of probabilities for {len(names)} labels: expected one a label, in order")
    if not np.issubdtype(gold.dtype, np.integer) or gold.min() < 0 or gold.max() >= n_labels:
        raise DataError(
            f"gold labels must be integers from 0 to {n_labels - 1}: pass positions in label order, not names"
        )
    is_one = (abs(probs.sum(axis=1) - 1) <= _SUM_TOLERANCE) | (probs == 0).all(axis=1)
    bad = ~np.isfinite(probs).all(axis=1) | (probs < 0).any(axis=1) | ~is_one
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"row {row} of {len(gold)} is not a probability vector (it sums to {probs[row].sum():.6g})")
    return probs, gold.astype(np.int64)


def accuracy(probs: Floats | Answers, gold: Ints, weights: Floats | None = None) -> Any:
    """Share of rows whose predicted label is gold, in [0, 1]."""
    return _mean((answers_of(probs, gold).answer == gold).astype(np.float64), weights)


def macro_f1(probs: Floats | Answers, gold: Ints, weights: Floats | None = None, n_labels: int | None = None) -> Any:
    """Mean of the labels' F1 scores, in [0, 1]; labels that are neither gold nor predicted anywhere do not count.

    Columns from ``n_labels`` on, where given, are no labels: who answers there misses a row of the gold label, and that
    is all (answers in free text that name no label).
    """
    true_positive, predicted, actual = _label_counts(answers_of(probs, gold), gold, weights, n_labels)
    support = predicted + actual
    f1 = 2 * true_positive / np.where(support > 0, support, 1)
    return f1.sum(axis=-1) / np.maximum((support > 0).sum(axis=-1), 1)


def log_loss(probs: Floats | Answers, gold: Ints, weights: Floats | None = None) -> Any:
    """Mean of -ln P(gold), in nats. Probabilities below 2.2e-16 count as that, so that no row is infinite.

    A row without an answer counts as one that gives every label the same.
    """
    taken = np.clip(answers_of(probs, gold).at_gold, _SMALLEST_PROBABILITY, 1.0)
    return _mean(-np.log(taken), weights)


def brier(probs: Floats | Answers, gold: Ints, weights: Floats | None = None) -> Any:
    """Mean squared distance between the probability vector and the one-hot gold vector, in [0, 2] (Brier 1950)."""
    read = answers_of(probs, gold)
    return _mean(read.square - 2 * read.at_gold + 1, weights)


def ece(probs: Floats | Answers, gold: Ints, weights: Floats | None = None, n_bins: int = ECE_BINS) -> Any:
    """Expected calibration error of the top label, in [0, 1].

    The mean over equal-width bins of |accuracy - mean confidence|, weighted by the bins' rows (Naeini et al. 2015; Guo
    et al. 2017, "On Calibration of Modern Neural Networks", eq. 3). A bin holds its upper edge. On few rows it is
    biased upwards, also for a classifier that is calibrated.
    """
    read = answers_of(probs, gold)
    gap = (read.answer == gold) - read.confidence
    bins = _bin_index(read.confidence, n_bins)[:, None] == np.arange(n_bins)
    weights = _ones(gold) if weights is None else weights
    return abs(weights @ (gap[:, None] * bins)).sum(axis=-1) / weights.sum(axis=-1)


def ece_floor(probs: Floats, n_draws: int = 500, seed: int = 0) -> float:
    """What ``ece`` would show, on average, if these confidences were exactly right.

    Gold answers are drawn from the confidences themselves ("consistency resampling", Bröcker and Smith 2007). An ECE
    near this value says that the classifier is as well calibrated as that many rows can tell.
    """
    confidence = probs.max(axis=1)
    right = np.random.default_rng(seed).random((n_draws, len(confidence))) < confidence
    bins = _bin_index(confidence, ECE_BINS)[:, None] == np.arange(ECE_BINS)
    return float((abs((right - confidence) @ bins).sum(axis=-1) / len(confidence)).mean())


def aurc(probs: Floats | Answers, gold: Ints, weights: Floats | None = None) -> Any:
    """Area under the risk-coverage curve, in [0, 1]; lower is better (Geifman et al. 2019, "Bias-Reduced Uncertainty").

    The mean over coverages of the error rate among the most confident rows. Rows of equal confidence are answered
    together, as any threshold would, so the value does not depend on the order of rows.
    """
    answers = answers_of(probs, gold)
    coverage, risk, _ = _risk_steps(answers, gold, _ones(gold) if weights is None else weights)
    return (np.diff(coverage, axis=-1, prepend=0.0) * risk).sum(axis=-1)


def risk_coverage(probs: Floats | Answers, gold: Ints) -> tuple[Floats, Floats, Floats]:
    """The risk-coverage curve (El-Yaniv and Wiener 2010).

    Returns
    -------
    coverage, risk, threshold : ndarray of shape (n_distinct_confidences,)
        Answering rows whose confidence is at least ``threshold``, from high to low, answers the share ``coverage`` of
        them, with the error rate ``risk``.
    """
    return _risk_steps(_read(probs, gold), gold, _ones(gold))


@dataclass(frozen=True)
class Metric:
    """A metric, and all that a report has to know to show it. Called, it measures, as all functions of this file do.

    Attributes
    ----------
    measure : function of probs, gold and weights
    title : str
        Heads its column.
    is_share : bool
        In [0, 1], and shown as percent.
    higher_is_better : bool
    of_free_text : bool
        An answer in free text, which has no probabilities, can be measured by it.
    is_reported : bool
        It has a column in the comparison's report.
    """

    measure: Callable[..., Any]
    title: str
    is_share: bool = False
    higher_is_better: bool = False
    of_free_text: bool = False
    is_reported: bool = True

    def __call__(self, probs: Floats | Answers, gold: Ints, weights: Floats | None = None, **more: Any) -> Any:
        """The metric's values, of shape (...) for weights of shape (..., n_rows)."""
        return self.measure(probs, gold, weights, **more)


def elsewhere(module: str, name: str) -> Callable[..., Any]:
    """A measure in a file of its own, which may read this one; imported when it is first asked for."""

    def measure(probs: Floats | Answers, gold: Ints, weights: Floats | None = None, **more: Any) -> Any:
        return getattr(import_module(module), name)(probs, gold, weights, **more)

    return measure


# A metric is added by one entry: what is evaluated, compared, tested for in free text and shown is read from here.
METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(accuracy, "accuracy %", is_share=True, higher_is_better=True, of_free_text=True),
    "macro_f1": Metric(macro_f1, "macro-F1 %", is_share=True, higher_is_better=True, of_free_text=True),
    "log_loss": Metric(log_loss, "log loss"),
    "brier": Metric(brier, "Brier"),
    "ece": Metric(ece, "ECE %", is_share=True),
    "aurc": Metric(aurc, "AURC %", is_share=True, is_reported=False),
}


def confusion(probs: Floats | Answers, gold: Ints) -> Ints:
    """Counts of shape (n_labels, n_labels): rows of gold label i that were predicted as j, all columns being labels."""
    read = _read(probs, gold)
    n_labels, said = read.n_labels, read.answer
    pairs = (gold * n_labels + said)[said >= 0]
    return np.bincount(pairs, minlength=n_labels**2).reshape(n_labels, n_labels).astype(np.int64)


def per_label(probs: Floats | Answers, gold: Ints, names: Sequence[str]) -> list[dict[str, Any]]:
    """One dictionary a label, in label order: label, n_rows, n_predicted, precision, recall, f1.

    A precision or recall that is 0/0 is given as 0.
    """
    counts = (column.tolist() for column in _label_counts(_read(probs, gold, names), gold, None))
    return [
        {
            "label": name,
            "n_rows": int(actual),
            "n_predicted": int(predicted),
            "precision": right / predicted if predicted else 0.0,
            "recall": right / actual if actual else 0.0,
            "f1": 2 * right / (predicted + actual) if predicted + actual else 0.0,
        }
        for name, right, predicted, actual in zip(names, *counts, strict=True)
    ]


def reliability(probs: Floats | Answers, gold: Ints, n_bins: int = ECE_BINS) -> list[dict[str, float]]:
    """The bins behind ``ece`` that hold rows: low, high, n_rows, confidence and accuracy (means in the bin)."""
    read = _read(probs, gold)
    confidence, right = read.confidence, read.answer == gold
    index = _bin_index(confidence, n_bins)
    return [
        {
            "low": k / n_bins,
            "high": (k + 1) / n_bins,
            "n_rows": int((index == k).sum()),
            "confidence": float(confidence[index == k].mean()),
            "accuracy": float(right[index == k].mean()),
        }
        for k in np.unique(index).tolist()
    ]


def _read(probs: Floats | Answers, gold: Ints, names: Sequence[str] | None = None) -> Answers:
    """Answers as they are, or read off probabilities that are checked first."""
    return probs if isinstance(probs, Answers) else answers_of(*checked(probs, gold, names))


def _ones(gold: Ints) -> Floats:
    return np.ones(len(gold))


def _mean(values: Floats, weights: Floats | None) -> Any:
    return values.mean() if weights is None else (weights @ values) / weights.sum(axis=-1)


def _bin_index(confidence: Floats, n_bins: int) -> Ints:
    return np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence, side="left").astype(np.int64)


def _label_counts(
    said: Answers, gold: Ints, weights: Floats | None, n_labels: int | None = None
) -> tuple[Floats, Floats, Floats]:
    """True positives, predicted rows and actual rows a label, each of shape (..., n_labels)."""
    n_labels = said.n_labels if n_labels is None else n_labels
    weights = _ones(gold) if weights is None else weights
    # An answer that is no label is nobody's. Few rows are wrong, so they alone are summed by answer and by label.
    answer = np.where((said.answer >= 0) & (said.answer < n_labels), said.answer, n_labels)
    is_right = answer == gold
    right = _sums_by_label(weights, np.where(is_right, gold, n_labels), n_labels)
    answered = _sums_by_label(weights, np.where(is_right, n_labels, answer), n_labels)
    missed = _sums_by_label(weights, np.where(is_right, n_labels, gold), n_labels)
    return right, right + answered, right + missed


def _sums_by_label(weights: Floats, labels: Ints, n_labels: int) -> Floats:
    """Weights of shape (..., n_rows) summed over the rows of each label below ``n_labels``; (..., n_labels)."""
    order = np.argsort(labels, kind="stable")
    order = order[: int((labels < n_labels).sum())]
    present, starts = np.unique(labels[order], return_index=True)
    sums = np.zeros((*weights.shape[:-1], n_labels))
    if len(present):
        sums[..., present] = np.add.reduceat(weights[..., order], starts, axis=-1)
    return sums


def _risk_steps(said: Answers, gold: Ints, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Coverage and risk of shape (..., n_distinct), and the confidences (n_distinct,), from high to low."""
    confidence = said.confidence
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    wrong = (said.answer != gold)[order]
    answered = np.cumsum(weights[..., order], axis=-1)[..., last]
    errors = np.cumsum(weights[..., order] * wrong, axis=-1)[..., last]
    return answered / answered[..., -1:], errors / np.maximum(answered, 1e-300), ranked[last]
