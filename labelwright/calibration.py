"""Temperature and per-label bias on the option log-probabilities. Fitted on the calib split only.

Owns the fit, its cross-validation, and the threshold below which to abstain. Which variant is kept is decided by
``optimizers/calibrate.py``; the numbers are ``labelwright.metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.metrics import Floats, Ints, checked, log_loss, risk_coverage

# Bounds of 1/T. The lower one keeps the order of labels where the scores are worse than useless.
_LOWEST_SCALE, _HIGHEST_SCALE = 0.01, 1000.0
# Options that an engine never expanded may come as -inf; this many nats below the best is nothing as well.
_DEEPEST_SCORE = -500.0
_MAX_STEPS = 100


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
        """Probabilities of shape (n_rows, n_labels) from log-scores of the same shape."""
        logits = scores / self.temperature
        if self.bias:
            logits = logits + np.asarray(self.bias)
        logits = logits - logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        return weights / weights.sum(axis=1, keepdims=True)

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
        Option log-probabilities; -inf is allowed.
    gold : int ndarray of shape (n_rows,)
    temperature, bias : bool
        Which of the two to fit; the other stays 1, respectively empty.
    l2 : float, above 0
        Strength of the penalty; 1 weighs about as much as a row or two.

    Raises
    ------
    DataError
        Shapes that do not fit, NaN, a row without any finite score, a gold position outside the columns.
    RecipeError
        If l2 is not above 0, or neither part is to be fitted.
    """
    if not 0 < l2 < math.inf:
        raise RecipeError(f"calibration penalty l2 is {l2!r}: expected a number above 0, such as 1.0")
    if not (temperature or bias):
        raise RecipeError("calibration with neither temperature nor bias has nothing to fit: allow one of them")
    scores, gold = _checked_scores(scores, gold)
    free = np.array([temperature] + [bias] * scores.shape[1])
    theta = np.zeros(len(free))
    theta[0] = 1.0
    value, gradient, hessian = _objective(theta, scores, gold, l2)
    for _ in range(_MAX_STEPS):
        at_bound = (theta[0] <= _LOWEST_SCALE and gradient[0] > 0) or (theta[0] >= _HIGHEST_SCALE and gradient[0] < 0)
        moving = free.copy()
        moving[0] &= not at_bound
        step = np.zeros(len(free))
        step[moving] = -np.linalg.solve(hessian[np.ix_(moving, moving)], gradient[moving])
        promise = float(-gradient @ step)
        if promise <= 1e-10 * max(1.0, abs(value)):
            break
        found = _line_search(theta, step, value, promise, scores, gold, l2)
        if found is None:
            break
        theta = found
        value, gradient, hessian = _objective(theta, scores, gold, l2)
    return Calibration(float(1 / theta[0]), tuple(theta[1:].tolist()) if bias else ())


def cross_validated_probs(
    scores: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    temperature: bool = True,
    bias: bool = True,
    l2: float = 1.0,
    n_folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Probabilities of shape (n_rows, n_labels), each row by a calibration that was fitted without its group.

    Parameters as in ``fit_calibration``; ``groups`` stay on one side of every fold.

    Raises
    ------
    DataError
        Also if there are fewer than two groups.
    """
    scores, gold = _checked_scores(scores, gold)
    folds = group_folds(gold, groups, n_folds, seed)
    probs = np.empty_like(scores)
    for fold in range(int(folds.max()) + 1):
        inside = folds == fold
        fitted = fit_calibration(scores[~inside], gold[~inside], temperature=temperature, bias=bias, l2=l2)
        probs[inside] = fitted.apply(scores[inside])
    return probs


def cross_validated_log_loss(scores: Floats, gold: Ints, groups: Sequence[str] | None = None, **settings: Any) -> float:
    """Log loss in nats of ``cross_validated_probs`` with the same settings."""
    return float(log_loss(cross_validated_probs(scores, gold, groups, **settings), np.asarray(gold)))


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
    are few: give it probabilities that were not fitted on them (``cross_validated_probs``).

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


def _checked_scores(scores: Any, gold: Any) -> tuple[Floats, Ints]:
    """Scores with each row's best at 0 and nothing below the floor; softmax does not see the shift."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise DataError(f"scores of shape {scores.shape}: expected (n_rows, n_labels) with at least one row")
    best = scores.max(axis=1, keepdims=True)
    if not np.isfinite(best).all():
        row = int(np.argmin(np.isfinite(best)))
        raise DataError(f"scores of row {row} hold NaN, +inf or no finite number: expected log-probabilities")
    scores = np.maximum(scores - best, _DEEPEST_SCORE)
    _, gold = checked(np.full_like(scores, 1 / scores.shape[1]), gold)
    return scores, gold


def _objective(theta: Floats, scores: Floats, gold: Ints, l2: float) -> tuple[float, Floats, Floats]:
    """Value, gradient (1 + n_labels,) and Hessian of what ``fit_calibration`` minimises; theta is (1/T, bias)."""
    n_rows, n_labels = scores.shape
    log_probs = _log_softmax(theta, scores)
    probs = np.exp(log_probs)
    mean = (probs * scores).sum(axis=1)
    gradient, hessian = np.empty(n_labels + 1), np.empty((n_labels + 1, n_labels + 1))
    gradient[0] = (mean - scores[np.arange(n_rows), gold]).sum()
    gradient[1:] = probs.sum(axis=0) - np.bincount(gold, minlength=n_labels)
    centred = probs * (scores - mean[:, None])
    hessian[0, 0] = (centred * scores).sum()
    hessian[0, 1:] = hessian[1:, 0] = centred.sum(axis=0)
    hessian[1:, 1:] = np.diag(probs.sum(axis=0)) - probs.T @ probs
    pull = theta - np.eye(n_labels + 1)[0]
    value = -log_probs[np.arange(n_rows), gold].sum() + l2 / 2 * pull @ pull
    return float(value), gradient + l2 * pull, hessian + l2 * np.eye(n_labels + 1)


def _line_search(
    theta: Floats, step: Floats, value: float, promise: float, scores: Floats, gold: Ints, l2: float
) -> Floats | None:
    """The first of theta + step, half of it, … that lowers the objective enough (Armijo); None if none does."""
    rows = np.arange(len(gold))
    for size in 0.5 ** np.arange(30):
        trial = theta + size * step
        trial[0] = np.clip(trial[0], _LOWEST_SCALE, _HIGHEST_SCALE)
        pull = trial - np.eye(len(trial))[0]
        if -_log_softmax(trial, scores)[rows, gold].sum() + l2 / 2 * pull @ pull <= value - 1e-4 * size * promise:
            return trial
    return None


def _log_softmax(theta: Floats, scores: Floats) -> Floats:
    logits = theta[0] * scores + theta[1:]
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
