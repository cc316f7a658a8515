"""The calibrate stage: probabilities that mean what they say, fitted on the calib split.

Scores the calib rows once, then tries temperature, per-label bias, and both, each with several penalties. Grouped
cross-validation on calib picks, and decides whether any of them is better than none at all. Weights and prompt stay.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from labelwright.bundle import Bundle
from labelwright.calibration import Calibration, abstain_threshold, cross_validated_probs, fit_calibration
from labelwright.decide import log_scores
from labelwright.engine import Engine
from labelwright.errors import DataError, RecipeError
from labelwright.metrics import Floats, Ints, accuracy, ece, log_loss
from labelwright.task import Example, Splits
from optimizers.stage import StageContext

# (temperature, bias): fewer parameters first, so that they win a tie.
_VARIANTS = ((True, False), (False, True), (True, True))
# Rows are scored in slices of this many, only to show progress.
_SLICE_ROWS = 32


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

    penalties: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0)
    n_folds: int = 5
    target_accuracy: float = 0.95
    rotations: bool = False

    name: ClassVar[str] = "calibrate"

    def __post_init__(self) -> None:
        if not self.penalties or not all(0 < penalty < math.inf for penalty in self.penalties):
            raise RecipeError(f"[calibrate] penalties = {list(self.penalties)}: expected numbers above 0")
        if self.n_folds < 2:
            raise RecipeError(f"[calibrate] n_folds = {self.n_folds}: expected 2 or more")
        if not 0 < self.target_accuracy <= 1:
            raise RecipeError(f"[calibrate] target_accuracy = {self.target_accuracy}: expected a share, such as 0.95")

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
        gold = np.array([bundle.task.index(row.label) for row in rows])
        plain, seconds = replace(bundle, calibration=Calibration()), {}
        begun = time.perf_counter()
        scores = _calib_scores(plain, rows, context)
        one_order = Calibration().apply(scores)
        seconds["one_order"] = time.perf_counter() - begun
        if self.rotations:
            scores = _calib_scores(replace(plain, calibration=Calibration(rotations=True)), rows, context)
            seconds["rotations"] = time.perf_counter() - begun - seconds["one_order"]
        groups = row_groups(rows)
        raw = Calibration().apply(scores)
        best = self._best_candidate(scores, gold, groups, context)
        raw_log_loss = float(log_loss(raw, gold))
        kept = best.log_loss < raw_log_loss
        fitted = Calibration()
        if kept:
            fitted = fit_calibration(scores, gold, temperature=best.temperature, bias=best.bias, l2=best.l2)
        honest = best.probs if kept else raw
        numbers = {
            **_numbers("uncalibrated", raw, gold),
            **_numbers("cross_validated", best.probs, gold),
            **_numbers("in_sample", fitted.apply(scores), gold),
        }
        if self.rotations:
            numbers |= _numbers("one_order", one_order, gold)
            numbers |= {f"calib.seconds_{name}": value for name, value in seconds.items()}
            fitted = replace(fitted, rotations=True)
        threshold = abstain_threshold(honest, gold, self.target_accuracy)
        if threshold is not None:
            numbers["calib.abstain_threshold"] = threshold
            numbers["calib.abstain_coverage"] = float((honest.max(axis=1) >= threshold).mean())
        context.tracker.metrics({**numbers, "calib.temperature": fitted.temperature, "calib.kept": float(kept)})
        context.tracker.artifact(_plot(context.folder, raw, best, gold))
        entry = {
            "stage": self.name,
            "kept": kept,
            "decision": _decision(best, raw_log_loss, kept),
            "variant": best.variant,
            "l2": best.l2,
            "n_rows": len(rows),
            "n_groups": len(set(groups)),
            "target_accuracy": self.target_accuracy,
            **numbers,
        }
        # A calibration that came in was fitted to other scores; where the new one does not help, none is right.
        return bundle.with_stage(entry, calibration=fitted)

    def _best_candidate(self, scores: Floats, gold: Ints, groups: list[str], context: StageContext) -> Candidate:
        candidates = []
        tried = [(*variant, float(l2)) for variant in _VARIANTS for l2 in self.penalties]
        for done, (temperature, bias, l2) in enumerate(tried, start=1):
            probs = cross_validated_probs(
                scores,
                gold,
                groups,
                temperature=temperature,
                bias=bias,
                l2=l2,
                n_folds=self.n_folds,
                seed=context.seed,
            )
            candidates.append(Candidate(temperature, bias, l2, probs, float(log_loss(probs, gold))))
            context.tracker.metrics({"calib.candidate_log_loss": candidates[-1].log_loss}, step=done)
            context.tracker.progress(done, len(tried), f"log loss {min(c.log_loss for c in candidates):.3f}")
        return min(candidates, key=lambda candidate: candidate.log_loss)


def row_groups(rows: Sequence[Example]) -> list[str]:
    """The group of each row; a row without one is its own."""
    return [f"row {row.id}" if row.group is None else f"group {row.group}" for row in rows]


def _calib_scores(bundle: Bundle, rows: Sequence[Example], context: StageContext) -> Floats:
    """Log-scores of shape (n_rows, n_labels), from the stage's folder where an interrupted run left them."""
    path = context.folder / "calib_scores.npz"
    texts = [row.text for row in rows]
    rendered = (prompt.text for prompt in bundle.prompt.render_all(texts))
    asked = [repr(bundle.weights), str(bundle.calibration.rotations), *bundle.prompt.options, *rendered]
    key = hashlib.sha256("\0".join(asked).encode()).hexdigest()
    known = _read_scores(path, key)
    if known is not None:
        return known
    engine: Engine = context.open_engine(bundle.weights)
    parts = []
    for start in range(0, len(texts), _SLICE_ROWS):
        context.tracker.progress(start, len(texts), "scoring calib")
        parts.append(log_scores(bundle, engine, texts[start : start + _SLICE_ROWS]))
    scores = np.concatenate(parts)
    part = path.with_name("calib_scores.part.npz")
    np.savez(part, scores=scores, ids=np.array([row.id for row in rows]), key=np.array(key))
    os.replace(part, path)
    return scores


def _read_scores(path: Path, key: str) -> Floats | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        scores: Floats = stored["scores"]
        return scores if str(stored["key"]) == key else None


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
