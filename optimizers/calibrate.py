"""The calibrate stage: probabilities that mean what they say, fitted on the calib split.

``best_calibration`` tries temperature, per-label bias, and both, each with several penalties. Grouped cross-validation
picks, and decides whether any of them is better than none at all. The stage gives it the scores of the calib rows; the
comparison calls it for every rung, so that all are calibrated the same way. Weights and prompt stay.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

from labelwright.bundle import Bundle
from labelwright.calibration import Calibration, abstain_threshold, cross_validated_paths, fit_calibration
from labelwright.errors import DataError, RecipeError
from labelwright.metrics import Floats, Ints, accuracy, ece, log_loss
from labelwright.settings import ABOVE_ZERO, Items, Range, check
from labelwright.task import Example, Splits
from optimizers.scores import gold_of, kept_scores
from optimizers.stage import StageContext

# (temperature, bias): fewer parameters first, so that they win a tie.
_VARIANTS = ((True, False), (False, True), (True, True))
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
N_FOLDS = 5


@dataclass(frozen=True)
class Candidate:
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
    best : Candidate
        The best of all tried, also where it is not better than none.
    """

    calibration: Calibration
    variant: str
    l2: float
    log_loss_before: float
    log_loss_after: float
    probs: Floats
    best: Candidate


def best_calibration(
    scores: Floats,
    gold: Ints,
    groups: Sequence[str] | None = None,
    *,
    penalties: Sequence[float] = PENALTIES,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    progress: Callable[[int, int, Candidate], None] | None = None,
) -> Chosen:
    """The calibration of lowest cross-validated log loss, or none where none is better than the scores as they are.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_labels)
        Log-probabilities, up to a constant a row; -inf is allowed and stays impossible.
    gold : int ndarray of shape (n_rows,)
    groups : sequence of str, optional
        Rows of one group stay on one side of every fold; see ``row_groups``.
    penalties : sequence of float, each above 0
    n_folds : int, at least 2
    progress : callable, optional
        Called after each candidate with its number, how many there are, and the candidate.

    Raises
    ------
    DataError
        As ``labelwright.calibration.fit_calibration``, or if there are fewer than two groups.
    """
    raw = Calibration().apply(scores)
    before = float(log_loss(raw, gold))
    candidates: list[Candidate] = []
    for temperature, bias in _VARIANTS:
        paths = cross_validated_paths(
            scores, gold, groups, penalties, temperature=temperature, bias=bias, n_folds=n_folds, seed=seed
        )
        for l2, probs in zip(penalties, paths, strict=True):
            candidates.append(Candidate(temperature, bias, float(l2), probs, float(log_loss(probs, gold))))
            if progress is not None:
                progress(len(candidates), len(_VARIANTS) * len(penalties), candidates[-1])
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    if best.log_loss >= before:
        return Chosen(Calibration(), "none", 0.0, before, before, raw, best)
    fitted = fit_calibration(scores, gold, temperature=best.temperature, bias=best.bias, l2=best.l2)
    return Chosen(fitted, best.variant, best.l2, before, best.log_loss, best.probs, best)


@dataclass(frozen=True)
class CalibrateStage:
    """Settings of the recipe's ``[calibrate]`` table.

    Attributes
    ----------
    penalties : tuple of float, each above 0
        Strengths tried for every variant; see ``labelwright.calibration.fit_calibration``.
    n_folds : int, at least 2
        Folds of the cross-validation; groups stay whole.
    target_accuracy : float in (0, 1]
        The abstain threshold that is reported is the one that reaches it on calib.
    rotations : bool
        Where rows bring their own choices: average over all cyclic orders of them, here and from here on. What that
        changes is recorded (``calib.…_one_order`` beside ``calib.…_uncalibrated``).
    """

    penalties: Annotated[tuple[Annotated[float, ABOVE_ZERO], ...], Items(least=1, most=100)] = PENALTIES
    n_folds: Annotated[int, Range(2, 1000)] = N_FOLDS
    target_accuracy: Annotated[float, Range(0, 1, "(]", "a share above 0 and at most 1, such as 0.95")] = 0.95
    rotations: bool = False

    name: ClassVar[str] = "calibrate"

    def __post_init__(self) -> None:
        check(self, "[calibrate] ")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """The bundle with the calibration that cross-validation picks, or without one where none helps.

        Raises
        ------
        DataError
            The calib split is empty or has a single group.
        """
        rows = splits.calib
        if not rows:
            raise DataError("the calib split is empty: give [splits] calib a share, such as 0.1, or drop the stage")
        if self.rotations and not bundle.task.by_row:
            raise RecipeError(
                "[calibrate] rotations = true: only rows that bring their own choices have an order to turn"
            )
        gold = gold_of(bundle, rows)
        plain, seconds = replace(bundle, calibration=Calibration()), {}
        begun = time.perf_counter()
        scores = kept_scores(plain, rows, context, "calib")
        one_order = Calibration().apply(scores)
        seconds["one_order"] = time.perf_counter() - begun
        if self.rotations:
            scores = kept_scores(replace(plain, calibration=Calibration(rotations=True)), rows, context, "calib")
            seconds["rotations"] = time.perf_counter() - begun - seconds["one_order"]
        groups = row_groups(rows)
        raw = Calibration().apply(scores)
        chosen = best_calibration(
            scores,
            gold,
            groups,
            penalties=self.penalties,
            n_folds=self.n_folds,
            seed=context.seed,
            progress=_reporter(context),
        )
        best, fitted, kept = chosen.best, chosen.calibration, chosen.variant != "none"
        numbers = {
            **_numbers("uncalibrated", raw, gold),
            **_numbers("cross_validated", best.probs, gold),
            **_numbers("in_sample", fitted.apply(scores), gold),
        }
        if self.rotations:
            numbers |= _numbers("one_order", one_order, gold)
            numbers |= {f"calib.seconds_{name}": value for name, value in seconds.items()}
            fitted = replace(fitted, rotations=True)
        threshold = abstain_threshold(chosen.probs, gold, self.target_accuracy)
        if threshold is not None:
            numbers["calib.abstain_threshold"] = threshold
            numbers["calib.abstain_coverage"] = float((chosen.probs.max(axis=1) >= threshold).mean())
        context.tracker.metrics({**numbers, "calib.temperature": fitted.temperature, "calib.kept": float(kept)})
        context.tracker.artifact(_plot(context.folder, raw, best, gold))
        entry = {
            "stage": self.name,
            "kept": kept,
            "decision": _decision(best, chosen.log_loss_before, kept),
            "variant": best.variant,
            "l2": best.l2,
            "n_rows": len(rows),
            "n_groups": len(set(groups)),
            "target_accuracy": self.target_accuracy,
            **numbers,
        }
        # A calibration that came in was fitted to other scores; where the new one does not help, none is right.
        return bundle.with_stage(entry, calibration=fitted)


def row_groups(rows: Sequence[Example]) -> list[str]:
    """The group of each row; a row without one is its own."""
    return [f"row {row.id}" if row.group is None else f"group {row.group}" for row in rows]


def _reporter(context: StageContext) -> Callable[[int, int, Candidate], None]:
    """Each candidate's log loss as a curve, and the lowest so far for who is waiting."""
    lowest = math.inf

    def report(done: int, total: int, candidate: Candidate) -> None:
        nonlocal lowest
        lowest = min(lowest, candidate.log_loss)
        context.tracker.metrics({"calib.candidate_log_loss": candidate.log_loss}, step=done)
        context.tracker.progress(done, total, f"log loss {lowest:.3f}")

    return report


def _numbers(which: str, probs: Floats, gold: Ints) -> dict[str, float]:
    measured = {"log_loss": log_loss, "ece": ece, "accuracy": accuracy}
    return {f"calib.{name}_{which}": float(metric(probs, gold)) for name, metric in measured.items()}


def _decision(best: Candidate, raw_log_loss: float, kept: bool) -> str:
    change = f"cross-validated log loss {best.log_loss:.4f} against {raw_log_loss:.4f} uncalibrated"
    if kept:
        return f"kept {best.variant} with penalty {best.l2:g}: {change}"
    return f"left uncalibrated: the best of all tried, {best.variant} with penalty {best.l2:g}, has {change}"


def _plot(folder: Path, raw: Floats, best: Candidate, gold: Ints) -> Path:
    from optimizers.reliability_plot import draw_reliability

    path = folder / "reliability.png"
    part = path.with_name("reliability.part.png")
    draw_reliability({"uncalibrated": raw, f"{best.variant}, cross-validated": best.probs}, gold, part)
    os.replace(part, path)
    return path
