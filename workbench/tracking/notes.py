"""What a step's run says of it, as Markdown in three lines: what was done, what it did to dev, what was decided."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from labelwright.bundle.types import Bundle
from labelwright.plain_text import escaped
from labelwright.statistics.metrics import METRICS
from workbench.progress import duration
from workbench.run.steps import Cost, Step
from workbench.wording import megabytes, told

# Of a stage's decisions those that are one value; longer ones are in the report.
_LONGEST = 60
_SHOWN = ("accuracy", "macro_f1", "log_loss")


def what_it_is(step: Step) -> str:
    """A stage in a sentence: the first one of its class's documentation."""
    return (inspect.getdoc(type(step.stage)) or step.stage.name).splitlines()[0]


def step_note(step: Step, before: Bundle | None, after: Bundle) -> str:
    """The three lines.

    Parameters
    ----------
    before : Bundle, optional
        What it began with; None where that was not scored.
    after : Bundle
        What it left.
    """
    decided: Mapping[str, Any] = next(
        (one for one in reversed(after.history) if one.get("stage") == step.stage.name), {}
    )
    lines = [
        f"**{escaped(step.name)}**: {escaped(what_it_is(step))}",
        f"Dev: {_changes(before.report if before else {}, after.report)}.",
        f"{_decided(decided)}{_cost(step.cost)}",
    ]
    # Two spaces end a line in Markdown.
    return "  \n".join(lines)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """ "accuracy 41.0 % → 62.0 %, log loss 1.63 → 1.31"; the one number where the other is not known."""
    said = []
    for name in _SHOWN:
        shown = [_shown(name, one[name]) for one in (before, after) if isinstance(one.get(name), (int, float))]
        if shown:
            said.append(f"{METRICS[name].title.removesuffix(' %')} {' → '.join(dict.fromkeys(shown))}")
    return ", ".join(said) or "not scored"


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if METRICS[name].is_share else f"{value:.3f}"


def _decided(decided: Mapping[str, Any]) -> str:
    shown = {key: told(one) for key, one in decided.items() if key != "stage" and not isinstance(one, (dict, list))}
    said = [f"{key} {one}" for key, one in shown.items() if len(one) <= _LONGEST]
    return f"Decided: {escaped(', '.join(said), 1000)}. " if said else ""


def _cost(cost: Cost) -> str:
    return f"Took {duration(cost.seconds)}, peak memory {megabytes(cost.peak_memory_bytes)}."
