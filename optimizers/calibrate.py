"""The calibrate stage: probabilities that mean what they say, fitted on the calib split.

``best_calibration`` tries temperature, per-label bias, and both, each with several penalties. Grouped cross-validation
picks, and decides whether any of them is better than none at all. ``CalibrateStage.calibrated`` is the one home of a
one's calibration: the run's stage and the comparison of every candidate call it, with the recipe's settings, and what
it returns is what is measured and what ships. Weights and prompt stay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, group_keys
from labelwright.errors import DataError, RecipeError
from labelwright.files import replacing
from labelwright.settings import ABOVE_ZERO, Items, Range, check
from labelwright.statistics.calibration import Calibration, abstain_threshold, cross_validated_paths, fit_calibration
from labelwright.statistics.metrics import Floats, Ints, accuracy, ece, log_loss
from optimizers.scores import gold_of, kept_scores
from optimizers.stage import StageContext

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
        Called after each one with its number, how many there are, and the one.

    Raises
    ------
    DataError
        As ``labelwright.statistics.calibration.fit_calibration``, or if there are fewer than two groups.
    """
    raw = Calibration().apply(scores)
    before = float(log_loss(raw, gold))
    tried: list[Tried] = []
    for temperature, bias in _VARIANTS:
        paths = cross_validated_paths(
            scores, gold, groups, penalties, temperature=temperature, bias=bias, n_folds=n_folds, seed=seed
        )
        for l2, probs in zip(penalties, paths, strict=True):
            tried.append(Tried(temperature, bias, float(l2), probs, float(log_loss(probs, gold))))
            if progress is not None:
                progress(len(tried), len(_VARIANTS) * len(penalties), tried[-1])
    best = min(tried, key=lambda one: one.log_loss)
    if best.log_loss >= before:
        return Chosen(Calibration(), "none", 0.0, before, before, raw, best)
    fitted = fit_calibration(scores, gold, temperature=best.temperature, bias=best.bias, l2=best.l2)
    return Chosen(fitted, best.variant, best.l2, before, best.log_loss, best.probs, best)


class Calibrated(NamedTuple):
    """A bundle with its calibration, and what that was chosen on.

    Attributes
    ----------
    bundle : Bundle
        Its newest history entry says what was decided, and with which settings.
    chosen : Chosen
        On top of what came in, see ``uncalibrated``.
    raw, probs : ndarray of shape (n_rows, n_labels)
        Of the calib rows: as the bundle came in, and in-sample, as it answers now.
    """

    bundle: Bundle
    chosen: Chosen
    raw: Floats
    probs: Floats


@dataclass(frozen=True)
class CalibrateStage:
    """Settings of the recipe's ``[calibrate]`` table.

    Attributes
    ----------
    penalties : tuple of float, each above 0
        Strengths tried for every variant; see ``labelwright.statistics.calibration.fit_calibration``.
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
        made = self.calibrated(
            bundle,
            splits.calib,
            lambda asked: kept_scores(asked, splits.calib, context, "calib"),
            context.seed,
            _reporter(context),
        )
        entry = made.bundle.history[-1]
        numbers = {key: value for key, value in entry.items() if key.startswith("calib.")}
        calibration = made.bundle.calibration
        context.tracker.metrics(
            {**numbers, "calib.temperature": calibration.temperature, "calib.kept": float(entry["kept"])}
        )
        gold = gold_of(bundle, splits.calib)
        context.tracker.artifact(_plot(context.folder, made.raw, made.chosen.best, gold))
        return made.bundle

    def calibrated(
        self,
        bundle: Bundle,
        rows: Sequence[Example],
        score: Callable[[Bundle], Floats],
        seed: int,
        progress: Callable[[int, int, Tried], None] | None = None,
    ) -> Calibrated:
        """Calibrate a bundle on rows: the only place where a one gets its calibration.

        Parameters
        ----------
        bundle : Bundle
            What an earlier calibration made of it is taken off first.
        rows : sequence of Example
            Of the calib split.
        score : callable
            A bundle to the log-scores of ``rows``, (n_rows, n_labels); only its calibration's rotations differ.
        seed : int
            Deals the folds.

        Raises
        ------
        DataError
            No rows, or a single group of them.
        RecipeError
            Rotations where rows have no choices of their own.
        """
        if not rows:
            raise DataError("the calib split is empty: give [splits] calib a share, such as 0.1, or drop the stage")
        if self.rotations and not bundle.task.by_row:
            raise RecipeError(
                "[calibrate] rotations = true: only rows that bring their own choices have an order to turn"
            )
        gold, groups = gold_of(bundle, rows), group_keys(rows)
        base = uncalibrated(bundle)
        numbers: dict[str, float] = {}
        begun = time.perf_counter()
        scores = score(base)
        if self.rotations:
            numbers |= _numbers("one_order", base.calibration.apply(scores), gold)
            numbers["calib.seconds_one_order"] = time.perf_counter() - begun
            begun = time.perf_counter()
            # A prior was measured on one order, in which choices have a place to be liked for.
            base = replace(base, calibration=Calibration(rotations=True))
            scores = score(base)
            numbers["calib.seconds_rotations"] = time.perf_counter() - begun
        chosen = best_calibration(
            base.calibration.logits(scores),
            gold,
            groups,
            penalties=self.penalties,
            n_folds=self.n_folds,
            seed=seed,
            progress=progress,
        )
        fitted = base.calibration.then(chosen.calibration)
        raw, probs = base.calibration.apply(scores), fitted.apply(scores)
        best, kept = chosen.best, chosen.variant != "none"
        numbers |= {
            **_numbers("uncalibrated", raw, gold),
            **_numbers("cross_validated", best.probs, gold),
            **_numbers("in_sample", probs, gold),
        }
        threshold = abstain_threshold(chosen.probs, gold, self.target_accuracy)
        if threshold is not None:
            numbers["calib.abstain_threshold"] = threshold
            numbers["calib.abstain_coverage"] = float((chosen.probs.max(axis=1) >= threshold).mean())
        entry = {
            "stage": self.name,
            "kept": kept,
            "decision": _decision(best, chosen.log_loss_before, kept),
            "variant": best.variant,
            "l2": best.l2,
            "n_rows": len(rows),
            "n_groups": len(set(groups)),
            "target_accuracy": self.target_accuracy,
            "base": base.calibration.to_dict(),
            "calibration": fitted.to_dict(),
            **numbers,
        }
        return Calibrated(bundle.with_stage(entry, calibration=fitted), chosen, raw, probs)


def uncalibrated(bundle: Bundle) -> Bundle:
    """The bundle without what calib rows made of it.

    The bias of a label prior, which takes no gold label, is part of the classifier and stays. Any other calibration was
    fitted to other scores.
    """
    makers = [entry for entry in bundle.history if entry.get("stage") in ("prior", CalibrateStage.name)]
    last: Mapping[str, Any] = makers[-1] if makers else {}
    if last.get("stage") == "prior":
        return bundle
    if "base" in last and last["calibration"] == bundle.calibration.to_dict():
        return replace(bundle, calibration=Calibration.from_dict(last["base"]))
    return replace(bundle, calibration=Calibration())


def calibration_record(bundle: Bundle) -> dict[str, Any] | None:
    """What the newest calibration did, for reports; None where the bundle as it stands was not made by one.

    Returns
    -------
    dict
        What ``Calibration.to_dict`` gives, and variant ("none" where nothing helped), log_loss_before and
        log_loss_after (cross-validated, on calib).
    """
    found = (one for one in reversed(bundle.history) if one.get("stage") == CalibrateStage.name)
    entry: Mapping[str, Any] = next(found, {})
    before, after = entry.get("calib.log_loss_uncalibrated"), entry.get("calib.log_loss_cross_validated")
    if before is None or after is None or entry.get("calibration") != bundle.calibration.to_dict():
        return None
    return {
        **bundle.calibration.to_dict(),
        "variant": entry["variant"] if entry["kept"] else "none",
        "log_loss_before": before,
        "log_loss_after": after if entry["kept"] else before,
    }


def _reporter(context: StageContext) -> Callable[[int, int, Tried], None]:
    """Each one's log loss as a curve, and the lowest so far for who is waiting."""
    lowest = math.inf

    def report(done: int, total: int, one: Tried) -> None:
        nonlocal lowest
        lowest = min(lowest, one.log_loss)
        context.tracker.metrics({"calib.candidate_log_loss": one.log_loss}, step=done)
        context.tracker.progress(done, total, f"log loss {lowest:.3f}")

    return report


def _numbers(which: str, probs: Floats, gold: Ints) -> dict[str, float]:
    measured = {"log_loss": log_loss, "ece": ece, "accuracy": accuracy}
    return {f"calib.{name}_{which}": float(metric(probs, gold)) for name, metric in measured.items()}


def _decision(best: Tried, raw_log_loss: float, kept: bool) -> str:
    change = f"cross-validated log loss {best.log_loss:.4f} against {raw_log_loss:.4f} uncalibrated"
    if kept:
        return f"kept {best.variant} with penalty {best.l2:g}: {change}"
    return f"left uncalibrated: the best of all tried, {best.variant} with penalty {best.l2:g}, has {change}"


def _plot(folder: Path, raw: Floats, best: Tried, gold: Ints) -> Path:
    from optimizers.reliability_plot import draw_reliability

    path = folder / "reliability.png"
    with replacing(path) as part:
        draw_reliability({"uncalibrated": raw, f"{best.variant}, cross-validated": best.probs}, gold, part)
    return path
