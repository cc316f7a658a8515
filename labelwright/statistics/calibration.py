"""Temperature and per-label bias on the option log-probabilities. Fitted on the calib split only.

Owns the fit, its cross-validation, and the threshold below which to abstain. Which variant is kept is decided by
``optimizers/calibration_choice.py``; the numbers are ``labelwright.statistics.metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.statistics.metrics import Floats, Ints, checked, risk_coverage

# Bounds of 1/T. The lower one keeps the order of labels where the scores are worse than useless.
_LOWEST_SCALE, _HIGHEST_SCALE = 0.01, 1000.0
# Options that an engine never expanded may come as -inf; this many nats below the best is nothing as well.
_DEEPEST_SCORE = -500.0
_MAX_STEPS = 100
# Divides what is 0 and stays 0.
_LEAST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Calibration:
    """P = softmax(scores / temperature + bias).

    Attributes
    ----------
    temperature : float
        Above 0; 1 leaves the scores as they are.
    bias : tuple of float
        One a label, in label order; empty for none.
    rotations : bool
        Where rows bring their own choices: scores are means over all cyclic orders of the choices
        (``labelwright.decide.log_scores``), at the price of as many scorings.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    rotations: bool = False

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of shape (n_rows, n_labels) from log-scores of the same shape.

        A row whose scores are all -inf is one without an answer, and so is what comes out: all 0
        (``labelwright.statistics.metrics.answers``).
        """
        scores = np.asarray(scores, dtype=np.float64)
        impossible = np.isneginf(scores)
        # The best score first to 0: no temperature, however small, may then lose all of them.
        logits = np.where(impossible, 0.0, scores - _best(scores)) / self.temperature
        if self.bias:
            logits = logits + np.asarray(self.bias)
        logits = np.where(impossible, -np.inf, logits)
        weights = np.exp(logits - _best(logits))
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST)

    def logits(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithms of the probabilities up to a constant a row, (n_rows, n_labels)."""
        logits = scores / self.temperature
        return logits + np.asarray(self.bias) if self.bias else logits

    def then(self, other: Calibration) -> Calibration:
        """One calibration that gives what ``other`` gives on the logarithms of what this one gives.

        With a = 1/T, softmax(a2 ln softmax(a1 s + b1) + b2) = softmax(a1 a2 s + (a2 b1 + b2)). Scores are taken as this
        one takes them (``rotations``).
        """
        n_labels = max(len(self.bias), len(other.bias))
        first, second = (np.array(one.bias) if one.bias else np.zeros(n_labels) for one in (self, other))
        bias = (first / other.temperature + second).tolist()
        return Calibration(self.temperature * other.temperature, tuple(bias), self.rotations)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; ``from_dict`` is its exact inverse."""
        also = {"rotations": True} if self.rotations else {}
        return {"temperature": self.temperature, "bias": list(self.bias), **also}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what ``to_dict`` wrote.

        Raises
        ------
        BundleError
            Keys missing or unknown, a temperature that is not above 0, a bias that is not a list of numbers.
        """
        if set(values) - {"rotations"} != {"temperature", "bias"}:
            raise BundleError(f"calibration has the keys {sorted(values)}: expected temperature and bias")
        temperature, bias = values["temperature"], values["bias"]
        if not _is_number(temperature) or temperature <= 0:
            raise BundleError(f"calibration temperature is {temperature!r}: expected a number above 0")
        if not isinstance(bias, list) or not all(map(_is_number, bias)):
            raise BundleError(f"calibration bias is {bias!r}: expected a list of numbers, one a label")
        return cls(float(temperature), tuple(map(float, bias)), values.get("rotations") is True)


# What is applied to scores that count as they are.
UNCALIBRATED = Calibration()


def _best(scores: Floats) -> Floats:
    """(n_rows, 1): the highest score of each row; 0 where none is possible."""
    best = scores.max(axis=1, keepdims=True)
    return np.where(np.isneginf(best), 0.0, best)


def fit_calibration(
    scores: Floats, gold: Ints, *, temperature: bool = True, bias: bool = True, l2: float = 1.0
) -> Calibration:
    """Temperature and per-label bias by penalised maximum likelihood.

    With a = 1/T, minimises  sum_rows -ln softmax(a s + b)[gold] + l2/2 (|b|^2 + (a - 1)^2), which is convex in (a, b),
    by damped Newton steps. Temperature alone is Guo et al. 2017 ("On Calibration of Modern Neural Networks", 4.2); with
    the bias it is their vector scaling with one common scale. The penalty pulls towards no calibration, so the fit
    exists for separable rows and for labels without a row, and in-sample its log loss (without the metric's floor) is
    never higher than that of the raw scores.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_labels)
        Option log-probabilities; -inf is allowed and stays impossible. A row whose gold is -inf says nothing, nor does
        one that is -inf throughout, to which nothing was answered.
    gold : int ndarray of shape (n_rows,)
    temperature, bias : bool
        Which of the two to fit; the other stays 1, respectively empty.
    l2 : float, above 0
        Strength of the penalty; 1 weighs about as much as a row or two.

    Raises
    ------
    DataError
        Shapes that do not fit, NaN or +inf, no finite score at all, a gold position outside the columns.
    RecipeError
        If l2 is not above 0, or neither part is to be fitted.
    """
    return fit_calibrations(scores, gold, (l2,), temperature=temperature, bias=bias)[0]


def fit_calibrations(
    scores: Floats, gold: Ints, penalties: Sequence[float], *, temperature: bool = True, bias: bool = True
) -> list[Calibration]:
    """``fit_calibration`` for several penalties, in their order, at little more than the price of one.

    The strongest comes first and the next ones begin where the last one ended: a few steps each.
    """
    for l2 in penalties:
        if not 0 < l2 < math.inf:
            raise RecipeError(f"calibration penalty l2 is {l2!r}: expected a number above 0, such as 1.0")
    if not (temperature or bias):
        raise RecipeError("calibration with neither temperature nor bias has nothing to fit: allow one of them")
    rows = _Rows.checked(scores, gold)
    theta = np.eye(1 + rows.n_labels)[0]
    if temperature and bias:
        # With scores that are far too sure, the scale is most of the way, and alone it is cheap to find.
        theta = _minimise(rows, theta, max(penalties), temperature=True, bias=False)
    fitted: dict[float, Calibration] = {}
    for l2 in sorted(penalties, reverse=True):
        theta = _minimise(rows, theta, l2, temperature=temperature, bias=bias)
        fitted[l2] = Calibration(float(1 / theta[0]), tuple(theta[1:].tolist()) if bias else ())
    return [fitted[l2] for l2 in penalties]


def cross_validated_paths(
    scores: Floats,
    gold: Ints,
    groups: Sequence[str] | None,
    penalties: Sequence[float],
    *,
    temperature: bool = True,
    bias: bool = True,
    n_folds: int = 5,
    seed: int = 0,
) -> list[Floats]:
    """Probabilities, (n_rows, n_labels) a penalty, each row by a calibration that was fitted without its group.

    Parameters as in ``fit_calibrations``; ``groups`` stay on one side of every fold, and all penalties share the folds.

    Raises
    ------
    DataError
        Also if there are fewer than two groups.
    """
    rows = _Rows.checked(scores, gold)
    scores, gold = np.asarray(scores, dtype=np.float64), rows.gold
    folds = group_folds(gold, groups, n_folds, seed)
    probs = [np.empty_like(scores) for _ in penalties]
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        fitted = fit_calibrations(scores[~inside], gold[~inside], penalties, temperature=temperature, bias=bias)
        for out, calibration in zip(probs, fitted, strict=True):
            out[inside] = calibration.apply(scores[inside])
    return probs


def group_folds(gold: Ints, groups: Sequence[str] | None, n_folds: int, seed: int) -> Ints:
    """The fold of each row, shape (n_rows,): groups whole, labels spread evenly, folds of nearly equal size.

    Groups are dealt in a seeded order, each to the fold with the fewest rows of its (first) label, then the fewest
    rows. There are at most as many folds as groups.

    Raises
    ------
    DataError
        Fewer than two groups, or groups of another length than gold.
    """
    names = np.arange(len(gold)) if groups is None else np.asarray(groups)
    if len(names) != len(gold):
        raise DataError(f"{len(names)} groups for {len(gold)} rows: expected one a row")
    _, first, index, sizes = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise DataError(
            f"the {len(gold)} calibration rows form {len(sizes)} group: cross-validation needs two at least"
        )
    n_folds = min(n_folds, len(sizes))
    of_label = np.zeros((int(gold.max()) + 1, n_folds))
    fold_of_group = np.empty(len(sizes), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        label = gold[first[group]]
        fold = np.lexsort((of_label.sum(axis=0), of_label[label]))[0]
        fold_of_group[group] = fold
        of_label[label, fold] += sizes[group]
    return fold_of_group[index]


def abstain_threshold(probs: Floats, gold: Ints, target: float) -> float | None:
    """The lowest confidence from which on answers reach a target accuracy; below it, abstain.

    Takes the largest coverage whose accuracy on these rows is at least ``target``, so it is as optimistic as the rows
    are few: give it probabilities that were not fitted on them (``cross_validated_paths``).

    Parameters
    ----------
    probs : ndarray of shape (n_rows, n_labels)
    gold : int ndarray of shape (n_rows,)
    target : float in (0, 1]

    Returns
    -------
    float or None
        0 where every row may be answered, None where no threshold reaches the target.
    """
    if not 0 < target <= 1:
        raise RecipeError(f"target accuracy is {target!r}: expected a share above 0 and at most 1, such as 0.95")
    probs, gold = checked(probs, gold)
    _, risk, threshold = risk_coverage(probs, gold)
    reached = np.flatnonzero(1 - risk >= target - 1e-12)
    if len(reached) == 0:
        return None
    return 0.0 if reached[-1] == len(risk) - 1 else float(threshold[reached[-1]])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class _Rows:
    """What a fit works on: each row's best score at 0 and none below the floor; softmax does not see the shift."""

    scores: Floats
    gold: Ints
    # Where the score is -inf, (n_rows, n_labels); None where it is nowhere.
    impossible: NDArray[np.bool_] | None

    @property
    def n_labels(self) -> int:
        return int(self.scores.shape[1])

    @classmethod
    def checked(cls, scores: Any, gold: Any) -> _Rows:
        scores = np.asarray(scores, dtype=np.float64)
        if scores.ndim != 2 or scores.size == 0:
            raise DataError(f"scores of shape {scores.shape}: expected (n_rows, n_labels) with at least one row")
        usable = (scores < np.inf).all(axis=1)
        if not usable.all():
            raise DataError(f"scores of row {int(np.argmin(usable))} hold NaN or +inf: expected log-probabilities")
        if np.isneginf(scores).all():
            raise DataError(f"none of {len(scores)} rows, from row 0 on, has a possible label: nothing to fit on")
        best = _best(scores)
        _, gold = checked(np.full_like(scores, 1 / scores.shape[1]), gold)
        impossible = np.isneginf(scores)
        return cls(np.maximum(scores - best, _DEEPEST_SCORE), gold, impossible if impossible.any() else None)

    def that_say_something(self) -> _Rows:
        """Without the rows whose gold nothing can make possible."""
        if self.impossible is None:
            return self
        kept = ~self.impossible[np.arange(len(self.gold)), self.gold]
        return _Rows(self.scores[kept], self.gold[kept], self.impossible[kept])

    def loss(self, theta: Floats, l2: float) -> tuple[float, Floats]:
        """What ``fit_calibration`` minimises, and the probabilities (n_rows, n_labels); theta is (1/T, bias)."""
        logits = theta[0] * self.scores
        logits += theta[1:]
        if self.impossible is not None:
            logits[self.impossible] = -np.inf
        logits -= logits.max(axis=1, keepdims=True)
        at_gold = logits[np.arange(len(self.gold)), self.gold]
        probs = np.exp(logits, out=logits)
        total = probs.sum(axis=1, keepdims=True)
        probs /= total
        value = np.log(total).sum() - at_gold.sum() + l2 / 2 * ((theta[0] - 1) ** 2 + theta[1:] @ theta[1:])
        return float(value), probs

    def derivatives(self, theta: Floats, probs: Floats, l2: float, bias: bool) -> tuple[Floats, Floats]:
        """Gradient and Hessian by (1/T, bias), or by 1/T alone."""
        size = 1 + self.n_labels if bias else 1
        mean = (probs * self.scores).sum(axis=1)
        centred = probs * (self.scores - mean[:, None])
        gradient, hessian = np.empty(size), np.empty((size, size))
        gradient[0] = (mean - self.scores[np.arange(len(self.gold)), self.gold]).sum()
        hessian[0, 0] = (centred * self.scores).sum()
        if bias:
            gradient[1:] = probs.sum(axis=0) - np.bincount(self.gold, minlength=self.n_labels)
            hessian[0, 1:] = hessian[1:, 0] = centred.sum(axis=0)
            hessian[1:, 1:] = np.diag(probs.sum(axis=0)) - probs.T @ probs
        pull = theta[:size] - np.eye(size)[0]
        return gradient + l2 * pull, hessian + l2 * np.eye(size)


def _minimise(rows: _Rows, theta: Floats, l2: float, *, temperature: bool, bias: bool) -> Floats:
    """(1/T, bias) of the least penalised loss, by Newton steps that are halved until they help (Armijo)."""
    rows = rows.that_say_something()
    value, probs = rows.loss(theta, l2)
    for _ in range(_MAX_STEPS):
        gradient, hessian = rows.derivatives(theta, probs, l2, bias)
        at_bound = (theta[0] <= _LOWEST_SCALE and gradient[0] > 0) or (theta[0] >= _HIGHEST_SCALE and gradient[0] < 0)
        first = 0 if temperature and not at_bound else 1
        step = np.zeros_like(theta)
        if first < len(gradient):
            step[first : len(gradient)] = -np.linalg.solve(hessian[first:, first:], gradient[first:])
        promise = float(-gradient @ step[: len(gradient)])
        if promise <= 1e-10 * max(1.0, abs(value)):
            break
        for size in 0.5 ** np.arange(30):
            trial = theta + size * step
            trial[0] = np.clip(trial[0], _LOWEST_SCALE, _HIGHEST_SCALE)
            trial_value, trial_probs = rows.loss(trial, l2)
            if trial_value <= value - 1e-4 * size * promise:
                break
        else:
            break
        theta, value, probs = trial, trial_value, trial_probs
    return theta
