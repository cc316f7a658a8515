"""The steps behind a comparison, for the report: what each cost, what it decided, how it went."""

from __future__ import annotations

from typing import Any

from labelwright.bundle.store import load
from workbench.compare.jobs import Comparison
from workbench.run.folder import read_curves
from workbench.run.session import Session
from workbench.run.steps import Step


def steps_by_name(work: Session, comparison: Comparison) -> dict[str, Step]:
    """Every finished step once: the run's by their folders ("1-gepa"), then other candidates' ("sft+grpo")."""
    found = {record["folder"]: step for record, step in work.recorded_steps()}
    seen = {step.key for step in found.values()}
    for name in comparison.names:
        _, at, style = name.partition("@")
        for step in comparison.steps(comparison.jobs(name)[0]):
            if step.is_done and step.key not in seen:
                seen.add(step.key)
                found[step.name + at + style] = step
    return found


def stage_curves(steps: dict[str, Step]) -> dict[str, Any]:
    """Curves by name of the step; steps without any are left out."""
    found = {name: read_curves(step.curves) for name, step in steps.items()}
    return {name: curves for name, curves in found.items() if curves}


def stage_records(steps: dict[str, Step]) -> list[dict[str, Any]]:
    """For every step: its cost, its dev metrics, and what the stage wrote into the bundle's history."""
    records = []
    for name, step in steps.items():
        bundle, cost = load(step.bundle), step.cost
        decided = next((dict(one) for one in reversed(bundle.history) if one.get("stage") == step.stage.name), {})
        records.append(
            {
                "folder": name,
                "stage": step.stage.name,
                "seconds": cost["seconds"],
                "peak_memory_bytes": cost.get("peak_memory_bytes"),
                "dev": {key: one for key, one in bundle.report.items() if isinstance(one, (int, float))},
                "decided": decided,
            }
        )
    return records
