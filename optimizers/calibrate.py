"""The calibrate stage: probabilities that mean what they say, and what can be promised of them, from the calib split.

``CalibrateStage.calibrated`` is where every candidate gets its calibration: the run's stage and the comparison call
it, with the recipe's settings, and what it returns is what is measured and what ships. Which calibration that is,
``calibration_choice`` finds. Weights and prompt stay.

Where calib has enough rows, a share of them is kept apart (``sides``): nothing is fitted on those, and they say what
the bundle can promise (``labelwright.decisions.promise``). Whatever else is fitted on calib rows takes ``fitted_rows``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.families import family_names
from labelwright.data.task import Example, Splits, Task
from labelwright.decisions.apart import keep_apart
from labelwright.decisions.asked import Asked, Confidence, Error
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.promise import Promise
from labelwright.decisions.whole_rows import whole_rows
from labelwright.errors import DataError, RecipeError
from labelwright.files import replacing
from labelwright.settings import ABOVE_ZERO, Items, Range, check
from labelwright.statistics.calibration import Calibration, abstain_threshold
from labelwright.statistics.label_thresholds import HALF, cross_fitted, fit_thresholds
from labelwright.statistics.metrics import Floats, Ints, accuracy, ece, log_loss
from labelwright.statistics.risk import least_rows
from optimizers.calibration_choice import N_FOLDS, PENALTIES, Chosen, Tried, best_calibration
from optimizers.kept import KeptScores
from optimizers.reliability_plot import draw_reliability
from optimizers.scores import gold_of, kept_scores
from optimizers.stage import StageContext


class Calibrated(NamedTuple):
    """A bundle with its calibration, and what that was chosen on.

    Attributes
    ----------
    bundle : Bundle
        Its newest history entry says what was decided, and with which settings.
    chosen : Chosen
        On top of what came in, see ``uncalibrated``.
    raw, probs : ndarray of shape (n_rows, n_labels)
        Of all calib rows: as the bundle came in, and as it answers now.
    fitted_on : ndarray of int
        Positions of the rows that were fitted on, for which ``probs`` are in-sample.
    """

    bundle: Bundle
    chosen: Chosen
    raw: Floats
    probs: Floats
    fitted_on: Ints


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
    max_error, confidence : float
        What the report says of the promise: the share of rows that can be answered with so few of them wrong. A bundle
        answers for any others as well.
    promise_share : float in [0, 0.9]
        Share of calib's groups that is kept apart for the promise, where these are enough for it; 0 fits on all.
    abstain : bool
        The bundle keeps the promise by itself: it gives no label where it would be broken.
    rotations : bool
        Where rows bring their own choices: average over all cyclic orders of them, here and from here on. What that
        changes is recorded (``calib.…_one_order`` beside ``calib.…_uncalibrated``).
    maximise : "", "micro_f1", "macro_f1" or "sample_f1"
        Of questions that take any of their labels: what the probability from which on a label is said is fitted for, on
        cross-validated probabilities (``labelwright.statistics.label_thresholds``). It is kept where it gains on rows
        that it was not fitted on; empty: labels are said from a half on.
    """

    penalties: Annotated[tuple[Annotated[float, ABOVE_ZERO], ...], Items(least=1, most=100)] = PENALTIES
    n_folds: Annotated[int, Range(2, 1000)] = N_FOLDS
    target_accuracy: Annotated[float, Range(0, 1, "(]", "a share above 0 and at most 1, such as 0.95")] = 0.95
    max_error: Error = 0.05
    confidence: Confidence = 0.95
    promise_share: Annotated[float, Range(0, 0.9)] = 0.5
    abstain: bool = False
    rotations: bool = False
    maximise: Literal["", "micro_f1", "macro_f1", "sample_f1"] = ""

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
        # What rotations cost is measured, on rows that are asked by this stage; killed, it finds what they took.
        own = KeptScores(context.folder / "scores")
        asking = replace(context, scores=own) if self.rotations else context
        made = self.calibrated(
            bundle,
            splits.calib,
            lambda asked: kept_scores(asked, splits.calib, asking, "calib"),
            context.seed,
            _reporter(context),
            took=lambda asked: own.seconds(asked, splits.calib),
        )
        entry = made.bundle.history[-1]
        numbers = {key: value for key, value in entry.items() if key.startswith("calib.")}
        calibration = made.bundle.calibration
        context.tracker.metrics(
            {**numbers, "calib.temperature": calibration.temperature, "calib.kept": float(entry["kept"])}
        )
        gold = gold_of(bundle, splits.calib)[made.fitted_on]
        context.tracker.artifact(_plot(context.folder, made.raw[made.fitted_on], made.chosen.best, gold))
        return made.bundle

    def sides(self, rows: Sequence[Example], seed: int) -> tuple[Ints, Ints]:
        """Positions of the calib rows to fit on, and of those kept apart, one a family; none of these where too few.

        Copies are of one family (``family_names``) as they are when rows are dealt: what is fitted on one is known of
        the other.
        """
        least = least_rows(self.max_error, self.confidence) if self.max_error < 1 else 1
        return keep_apart(family_names(rows), self.promise_share, least, seed)

    def fitted_rows(self, rows: Sequence[Example], seed: int) -> list[Example]:
        """The calib rows that anything but a promise may be fitted, chosen or looked up on."""
        return [rows[i] for i in self.sides(rows, seed)[0].tolist()]

    def calibrated(
        self,
        bundle: Bundle,
        rows: Sequence[Example],
        score: Callable[[Bundle], Floats],
        seed: int,
        progress: Callable[[int, int, Tried], None] | None = None,
        took: Callable[[Bundle], float | None] = lambda asked: None,
    ) -> Calibrated:
        """Calibrate a bundle on rows: the only place where one gets its calibration.

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
        took : callable, optional
            A bundle to the seconds of ``score``, where these are known better than by the clock: scores that are read
            took longer.

        Raises
        ------
        DataError
            No rows, or a single group of them.
        RecipeError
            Rotations where rows have no choices of their own.
        """
        if not rows:
            raise DataError("the calib split is empty: give [splits] calib a share, such as 0.1, or drop the stage")
        if self.rotations and not asking(bundle.task).columns:
            raise RecipeError(
                "[calibrate] rotations = true: only rows that bring their own choices have an order to turn"
            )
        every_gold, every_group = gold_of(bundle, rows), family_names(rows)
        fitted_on, kept_apart = self.sides(rows, seed)
        if bundle.task.points:
            # Errors are promised of rows that get one answer; what a row of several is answered would have to be
            # counted whole. Until it is, nothing is promised of these, and all rows are fitted on.
            fitted_on, kept_apart = np.arange(len(rows)), np.arange(0)
        gold, groups = every_gold[fitted_on], [every_group[i] for i in fitted_on.tolist()]
        base = uncalibrated(bundle)
        numbers: dict[str, float] = {}
        begun = time.perf_counter()
        scores = score(base)
        if self.rotations:
            numbers |= _numbers("one_order", base.calibration.apply(scores[fitted_on]), gold)
            numbers["calib.seconds_one_order"] = took(base) or time.perf_counter() - begun
            begun = time.perf_counter()
            # A prior was measured on one order, in which choices have a place to be liked for.
            base = replace(base, calibration=Calibration(rotations=True))
            scores = score(base)
            numbers["calib.seconds_rotations"] = took(base) or time.perf_counter() - begun
        chosen = best_calibration(
            base.calibration.logits(scores[fitted_on]),
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
            **_numbers("uncalibrated", raw[fitted_on], gold),
            **_numbers("cross_validated", best.probs, gold),
            **_numbers("in_sample", probs[fitted_on], gold),
        }
        threshold = abstain_threshold(chosen.probs, gold, self.target_accuracy)
        if threshold is not None:
            numbers["calib.abstain_threshold"] = threshold
            numbers["calib.abstain_coverage"] = float((chosen.probs.max(axis=1) >= threshold).mean())
        fitted_rows = [rows[i] for i in fitted_on.tolist()]
        said_from, gained = self._said_from(bundle.task, fitted_rows, chosen.probs, groups, seed)
        promise = Promise(n_fitted=len(set(groups)))
        if len(kept_apart):
            of_apart = probs[kept_apart], every_gold[kept_apart]
            decision = Decision.of_task(bundle.task, said_from)
            promise = Promise.of(decision, (probs[fitted_on], gold), of_apart, promise.n_fitted)
        asked = Asked(self.max_error, self.confidence)
        numbers |= _promised(replace(promise, asked=asked))
        if self.abstain:
            promise = replace(promise, asked=asked)
        entry = {
            "stage": self.name,
            "kept": kept,
            "decision": _decision(best, chosen.log_loss_before, kept),
            "variant": best.variant,
            "l2": best.l2,
            "n_rows": len(fitted_on),
            "n_groups": len(set(groups)),
            "n_apart": len(kept_apart),
            "target_accuracy": self.target_accuracy,
            "base": base.calibration.to_dict(),
            "calibration": fitted.to_dict(),
            **({"maximise": self.maximise, "said_from": gained} if gained else {}),
            **numbers,
        }
        made = bundle.with_stage(entry, calibration=fitted, promise=promise, said_from=said_from)
        return Calibrated(made, chosen, raw, probs, fitted_on)

    def _said_from(
        self, task: Task, rows: Sequence[Example], probs: Floats, groups: Sequence[str], seed: int
    ) -> tuple[tuple[float, ...], dict[str, dict[str, float]]]:
        """What each point is said from, and by question the metric before and after, on rows not fitted on."""
        if not (self.maximise and task.points):
            return (), {}
        thresholds, gained = [HALF] * len(task.points), {}
        whole = whole_rows(rows, probs, task, LIKELIEST, groups)
        for told in whole.questions:
            own = whole.groups_of(told)
            if told.sets is None or own is None or len(set(own)) < 2:
                continue
            before, after = cross_fitted(told.sets, self.maximise, own, self.n_folds, seed)
            gained[told.question.name] = {"before": before, "after": after, "kept": float(after > before)}
            if after > before:
                number = task.questions.index(told.question)
                places = [place for place, point in enumerate(task.points) if point.question == number]
                for place, share in zip(places, fit_thresholds(told.sets, self.maximise).tolist(), strict=True):
                    thresholds[place] = share
        return tuple(thresholds) if set(thresholds) != {HALF} else (), gained


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
        return replace(bundle, calibration=Calibration.from_dict(last["base"]), said_from=())
    return replace(bundle, calibration=Calibration(), said_from=())


def calibration_record(bundle: Bundle) -> dict[str, Any] | None:
    """What the newest calibration did, for reports; None where the bundle as it stands was not made by one.

    Returns
    -------
    dict
        What ``Calibration.to_dict`` gives, and variant ("none" where nothing helped), log_loss_before and
        log_loss_after (cross-validated, on calib). Where what labels are said from was to be fitted, also ``maximise``,
        for which metric, and ``said_from``: by question that metric before and after on calib rows, each fitted without
        it, and whether that was kept.
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
        **{key: entry[key] for key in ("maximise", "said_from") if key in entry},
    }


def _reporter(context: StageContext) -> Callable[[int, int, Tried], None]:
    """The log loss of each that is tried as a curve, and the lowest so far for who is waiting."""
    lowest = math.inf

    def report(done: int, total: int, one: Tried) -> None:
        nonlocal lowest
        lowest = min(lowest, one.log_loss)
        context.tracker.metrics({"calib.tried_log_loss": one.log_loss}, step=done)
        context.tracker.progress(done, total, f"log loss {lowest:.3f}")

    return report


def _numbers(which: str, probs: Floats, gold: Ints) -> dict[str, float]:
    measured = {"log_loss": log_loss, "ece": ece, "accuracy": accuracy}
    return {f"calib.{name}_{which}": float(metric(probs, gold)) for name, metric in measured.items()}


def _promised(promise: Promise) -> dict[str, float]:
    """The threshold of the promise and what it answers of the rows kept apart; nothing where it cannot be made."""
    threshold, coverage = promise.thresholds(1), promise.coverage()
    if threshold is None or coverage is None:
        return {}
    return {"calib.promise_threshold": float(threshold[0]), "calib.promise_coverage": coverage}


def _decision(best: Tried, raw_log_loss: float, kept: bool) -> str:
    change = f"cross-validated log loss {best.log_loss:.4f} against {raw_log_loss:.4f} uncalibrated"
    if kept:
        return f"kept {best.variant} with penalty {best.l2:g}: {change}"
    return f"left uncalibrated: the best of all tried, {best.variant} with penalty {best.l2:g}, has {change}"


def _plot(folder: Path, raw: Floats, best: Tried, gold: Ints) -> Path:

    path = folder / "reliability.png"
    with replacing(path) as part:
        draw_reliability({"uncalibrated": raw, f"{best.variant}, cross-validated": best.probs}, gold, part)
    return path
