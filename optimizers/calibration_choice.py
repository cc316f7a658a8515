"""Choosing a calibration for scores: which parameters, how strongly held to doing nothing, or none at all.

Temperature, a bias for each label, and both are tried, each with several penalties; grouped cross-validation picks, and
has a say in whether the best of them is better than the scores as they are. Knows rows by their scores only; the fit
itself is ``labelwright.statistics.calibration``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labelwright.statistics.calibration import Calibration, cross_validated_paths, fit_calibration
from labelwright.statistics.metrics import Floats, Ints, log_loss

# (temperature, bias): fewer parameters first, so that they win a tie.
_VARIANTS = ((True, False), (False, True), (True, True))
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
N_FOLDS = 5


@dataclass(frozen=True)
class Tried:
    """One way to calibrate and its cross-validated probabilities, shape (n_rows, n_labels)."""

    temperature: bool
    bias: bool
    l2: float
    probs: Floats
    log_loss: float

    @property
    def variant(self) -> str:
        """ "temperature", "bias" or "temperature+bias"."""
        return "+".join(name for name in ("temperature", "bias") if getattr(self, name))


@dataclass(frozen=True)
class Chosen:
    """What cross-validation made of the scores.

    Attributes
    ----------
    calibration : Calibration
        Fitted on all rows; the empty one where nothing helps.
    variant : {"none", "temperature", "bias", "temperature+bias"}
    l2 : float
        The penalty; 0 where the variant is "none".
    log_loss_before, log_loss_after : float
        In nats, of the scores as they are, and cross-validated; equal where the variant is "none".
    probs : ndarray of shape (n_rows, n_labels)
        Cross-validated probabilities: what to measure on these rows themselves.
    best : Tried
        The best of all tried, also where it is not better than none.
    """

    calibration: Calibration
    variant: str
    l2: float
    log_loss_before: float
    log_loss_after: float
    probs: Floats
    best: Tried


def best_calibration(
    scores: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    penalties: Sequence[float] = PENALTIES,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    progress: Callable[[int, int, Tried], None] | None = None,
) -> Chosen:
    """The calibration of lowest cross-validated log loss, or none where none is better than the scores as they are.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_labels)
        Log-probabilities, up to a constant a row; -inf is allowed and stays impossible.
    gold : int ndarray of shape (n_rows,)
    groups : sequence of str, optional
        Rows of one group stay on one side of every fold; see ``labelwright.data.task.group_keys``.
    penalties : sequence of float, each above 0
    n_folds : int, at least 2
    progress : callable, optional
        Called after each that was tried, with its number, how many there are, and what it is.

    Raises
    ------
    DataError
        As ``labelwright.statistics.calibration.fit_calibration``, or if there are fewer than two groups.
    """
    raw = Calibration().apply(scores)
    before = float(log_loss(raw, gold))
    # Of many labels and rows each that is tried is as large as the scores: only the best so far is kept.
    best: Tried | None = None
    n_tried, n_all = 0, len(_VARIANTS) * len(penalties)
    for temperature, bias in _VARIANTS:
        paths = cross_validated_paths(
            scores, gold, groups, penalties, temperature=temperature, bias=bias, n_folds=n_folds, seed=seed
        )
        for l2, probs in zip(penalties, paths, strict=True):
            one, n_tried = Tried(temperature, bias, float(l2), probs, float(log_loss(probs, gold))), n_tried + 1
            if progress is not None:
                progress(n_tried, n_all, one)
            best = one if best is None or one.log_loss < best.log_loss else best
        del paths
    assert best is not None
    if best.log_loss >= before:
        return Chosen(Calibration(), "none", 0.0, before, before, raw, best)
    fitted = fit_calibration(scores, gold, temperature=best.temperature, bias=best.bias, l2=best.l2)
    return Chosen(fitted, best.variant, best.l2, before, best.log_loss, best.probs, best)
