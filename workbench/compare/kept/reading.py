"""From what a candidate's jobs left to the candidate as the statistics take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.promise import NO_PROMISE, Promise
from labelwright.statistics.intervals import Interval
from workbench.compare.candidate import (
    Asking,
    Candidate,
    CurvePoint,
    Distilled,
    Hosted,
    Kept,
    Repeat,
    Together,
    Written,
)
from workbench.compare.jobs import Comparison


def read_candidate(comparison: Comparison, name: str) -> Candidate:
    """A candidate from what its jobs left; one without results of its own has failed."""
    first, *others = comparison.jobs(name)
    main = comparison.result(first)
    kind, about, step = comparison.kind(name), comparison.about(name), comparison.of_the_run.get(name)
    if main is None:
        why = comparison.failure(name) or "its process left no result"
        return Candidate(name, kind, about, step, failed=why)
    arrays = comparison.place(first).with_suffix(".npz")
    repeats, curve = [], []
    for job in others:
        result = comparison.result(job)
        if result is None:
            continue
        if job.per_label:
            point = CurvePoint(job.per_label, result["n_train"], job.seed, result["scores"]["accuracy_raw"])
            curve.append(point)
        else:
            repeats.append(Repeat(job.split_seed, job.seed, _scores(result)))
    if comparison.is_curved(name):
        curve.append(CurvePoint(0, main["n_train"], first.seed, main["scores"]["accuracy_raw"]))
        fixed = [job for job in others if not job.per_label and job.split_seed == first.split_seed]
        for job in fixed:
            result = comparison.result(job)
            if result is not None:
                curve.append(CurvePoint(0, result["n_train"], job.seed, result["scores"]["accuracy_raw"]))
    return Candidate(
        name,
        kind,
        about,
        step,
        raw=Kept(arrays, "raw"),
        probs=Kept(arrays, "probs"),
        calibration=main["calibration"],
        cost=main["cost"],
        generation=main["generation"],
        outside=main.get("outside", {}),
        steering=main.get("steering", {}),
        scores=_scores(main),
        repeats=tuple(repeats),
        curve=tuple(curve),
        folder=main["bundle"],
        together=_together(main["together"]) if "together" in main else None,
        distilled=_distilled(main["distilled"]) if "distilled" in main else None,
        written=_written(comparison, name) if kind == "synthetic" else None,
        searched=comparison.found(name) if kind == "searched" else None,
        n_train=main["n_train"],
        # Free text has a column more, and nothing is decided with it.
        decision=LIKELIEST if kind == "free" else Decision.of_task(comparison.task, main.get("said_from", ())),
        promise=_promise(comparison, main),
        said_from=tuple(main.get("said_from", ())),
        turned_away=Kept(arrays, "outside") if main.get("scoped") else None,
    )


def _written(comparison: Comparison, name: str) -> Written:
    """What there is to say of the synthetic rows that a candidate learnt."""
    found, plain = comparison.written, comparison.synthetic[name]
    fixed = [job for job in comparison.jobs(plain) if not job.per_label and job.split_seed == comparison.recipe.seed]
    left = [result for job in fixed if (result := comparison.result(job)) is not None]
    without = tuple(result["scores"]["accuracy_raw"] for result in left)
    return Written(len(found.rows), found.n_checked, found.models, found.left_out, without)


def _promise(comparison: Comparison, main: Mapping[str, Any]) -> Promise:
    """What a candidate's calib rows say of its errors, asked for what the recipe wants to know."""
    if "promise" not in main:  # free text promises nothing
        return NO_PROMISE
    stage = comparison.calibration()
    kept = Promise.from_dict(main["promise"], len(comparison.task.names))
    return replace(kept, asked=replace(kept.asked, max_error=stage.max_error, confidence=stage.confidence))


def _together(kept: dict[str, Any]) -> Together:
    levels = tuple(Asking(**level) for level in kept["levels"])
    curve = tuple((ms, accuracy) for ms, accuracy in kept["curve"])
    return Together(levels, kept["mean"], kept["last"], curve, kept["encoders"], _hosted(kept["hosted"]))


def _hosted(kept: dict[str, Any] | None) -> Hosted | None:
    if kept is None:
        return None
    read = {name: Interval(*kept[name]) for name in ("accuracy", "gain")}
    return Hosted(**kept | read | {"curve": tuple((share, gain) for share, gain in kept["curve"])})


def _distilled(kept: dict[str, Any]) -> Distilled:
    # Older results do not say how often a teacher is right.
    told = {name: Interval(*kept[name]) for name in ("agreement", "right") if kept.get(name)}
    return Distilled(**kept | told)


def _scores(result: dict[str, Any]) -> dict[str, float]:
    told = ("accuracy", "macro_f1", "log_loss", "cost")
    return {name: result["scores"][name] for name in told if name in result["scores"]}
