"""The steps behind a comparison, for the report: what each cost, what it decided, how it went."""

from __future__ import annotations

import math
from pathlib import Path

from labelwright.bundle.store import load
from workbench.compare.candidate import Candidate
from workbench.compare.jobs import Comparison
from workbench.report.report import Curves, Stage
from workbench.run.folder import read_curves
from workbench.run.session import Session
from workbench.run.steps import Step

# Of a stage's curves those whose names have one of these say whether it learns; so many of them are kept.
_TELLING = ("dev_accuracy", "reward", "accuracy", "dev")
_N_CURVES = 3


def steps_by_name(work: Session, comparison: Comparison) -> dict[str, Step]:
    """Every finished step once: the run's by their folders ("1-gepa"), then other candidates' ("sft+grpo")."""
    found = {record["folder"]: step for record, step in work.recorded_steps() if step.is_done}
    seen = {step.key for step in found.values()}
    for name in comparison.names:
        _, at, style = name.partition("@")
        for step in comparison.steps(comparison.jobs(name)[0]):
            if step.is_done and step.key not in seen:
                seen.add(step.key)
                found[step.name + at + style] = step
    return found


def chosen_curves(steps: dict[str, Step]) -> dict[str, Curves]:
    """Of each step's curves the few that say whether it learns, as far as they are numbers."""

    def order(name: str) -> tuple[int, str]:
        return next(i for i, word in enumerate(_TELLING) if word in name), name

    chosen: dict[str, Curves] = {}
    for step_name, step in steps.items():
        curves = {
            name: tuple((at, value) for at, value in points if math.isfinite(value))
            for name, points in read_curves(step.curves).items()
            if any(word in name for word in _TELLING)
        }
        if usable := sorted((name for name, points in curves.items() if len(points) > 1), key=order)[:_N_CURVES]:
            chosen[step_name] = {name: curves[name] for name in usable}
    return chosen


def abstain_threshold(candidate: Candidate) -> float | None:
    """The confidence below which a candidate abstains, as its calibration found it; None where it did not."""
    history = load(Path(candidate.folder)).history if candidate.folder else ()
    made = next((one for one in reversed(history) if one.get("stage") == "calibrate"), None)
    return None if made is None else made.get("calib.abstain_threshold")


def stage_records(steps: dict[str, Step]) -> list[Stage]:
    """For every step: its cost, its dev metrics, and what the stage wrote into the bundle's history."""
    records = []
    for name, step in steps.items():
        bundle, cost = load(step.bundle), step.cost
        decided = next((dict(one) for one in reversed(bundle.history) if one.get("stage") == step.stage.name), {})
        numbers = {key: one for key, one in bundle.report.items() if isinstance(one, (int, float))}
        records.append(
            Stage(
                folder=name,
                stage=step.stage.name,
                seconds=cost.seconds,
                peak_memory_bytes=cost.peak_memory_bytes,
                dev={key: one for key, one in numbers.items() if math.isfinite(one)},
                decided=decided,
            )
        )
    return records
