"""Stages and pipelines of them, by the names that a recipe has for them, and what other candidates are called.

A stage is imported when a recipe lists it, and not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import baselines
from labelwright.errors import RecipeError
from labelwright.prompt import STYLES, Style, said_styles
from labelwright.settings import shown
from workbench.recipe.fill import read_table

STAGES = {
    "prior": ("optimizers.prior", "PriorStage"),
    "demos": ("optimizers.demos", "DemosStage"),
    "neighbours": ("optimizers.neighbours", "NeighboursStage"),
    "sft": ("optimizers.training.sft", "SftStage"),
    "gepa": ("optimizers.gepa.stage", "GepaStage"),
    "grpo": ("optimizers.training.grpo", "GrpoStage"),
    "dpo": ("optimizers.training.dpo", "DpoStage"),
    "calibrate": ("optimizers.calibrate", "CalibrateStage"),
}
# Candidates that are made of other ones.
ENSEMBLE, ENSEMBLE_LIGHT, CASCADE = TOGETHER = ("ensemble", "ensemble-light", "cascade")
# What the model elsewhere that answers behind a cascade is called among [money] candidates. It is none by itself.
HOSTED = "hosted"
# Who does not look at a row has nothing to add to others.
BLIND = ("majority", "chance")
# What students are called, before the name of the baseline that each is; and who learns rows that a model wrote.
DISTILLED, SYNTHETIC = "distilled-", "synthetic-"
# What a run does where its recipe does not say.
DEFAULT_STAGES = ("gepa", "grpo", "calibrate")


class Pipeline(NamedTuple):
    """A tuning of the model, as ``[models] candidates`` name it.

    Attributes
    ----------
    stages : tuple of str
    style : "name", "code", "letter" or None for the recipe's
    free : bool
        Whether it answers in free text.
    """

    stages: tuple[str, ...]
    style: Style | None = None
    free: bool = False

    @property
    def name(self) -> str:
        """What ``read_pipeline`` reads."""
        head = "free" if self.free else "+".join(self.stages) or "untuned"
        return f"{head}@{self.style}" if self.style else head


def read_pipeline(candidate: str) -> Pipeline:
    """The pipeline of a candidate's name. Raises RecipeError for a stage or style that there is not.

    >>> read_pipeline("sft+grpo@code")
    Pipeline(stages=('sft', 'grpo'), style='code', free=False)
    """
    head, at, style = candidate.partition("@")
    if at and style not in STYLES:
        expected = said_styles("@", "")
        raise RecipeError(f"candidate {shown(candidate)}: expected {expected} behind it, found {shown('@' + style)}")
    stages = () if head in ("untuned", "free") else tuple(head.split("+"))
    usable = [stage for stage in STAGES if stage != "calibrate"]
    for stage in stages:
        if stage not in usable:
            also = "; every candidate is calibrated by the comparison" if stage == "calibrate" else ""
            raise RecipeError(
                f"candidate {shown(candidate)}: no stage {shown(stage)}; expected untuned, free, or stages joined by "
                "+, of "
                f"{', '.join(usable)}{also}"
            )
    return Pipeline(stages, cast("Style | None", style or None), head == "free")


def pipeline_fault(candidate: str) -> str:
    """What is wrong with a candidate's name as one of a pipeline; empty where nothing is."""
    try:
        stages = read_pipeline(candidate).stages
    except RecipeError as error:
        return str(error)
    # A run may go through a stage again ([stages]); a candidate that names one twice is a slip.
    twice = next((stage for number, stage in enumerate(stages) if stage in stages[:number]), None)
    return (
        f"candidate {shown(candidate)}: stage {shown(twice)} stands in it twice; name each stage once" if twice else ""
    )


def stage_class(name: str) -> type:
    """The dataclass of a stage, which is its settings."""
    module, cls = STAGES[name]
    return cast("type", getattr(importlib.import_module(module), cls))


def build_stage(name: str, table: Mapping[str, Any], where: str) -> Any:
    """Import a stage's dataclass and fill it from its table. Raises RecipeError, as ``read_recipe`` does."""
    return read_table(stage_class(name), table, where)


def learns_soft(name: str) -> bool:
    """Whether a baseline of that name, or a pipeline, learns from probabilities."""
    if name in baselines.BASELINES:
        return bool(getattr(baselines.BASELINES[name], "learns_soft", False))
    return not pipeline_fault(name) and any(
        getattr(stage_class(stage), "learns_soft", False) for stage in read_pipeline(name).stages
    )
