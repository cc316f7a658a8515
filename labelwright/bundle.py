"""A classifier as files: task, prompt, weights, calibration, golden rows, hashes.

Owns the format on disk. ``save`` and ``load`` are exact inverses; ``verify`` re-reads the hashes and re-scores the
golden rows. Safetensors and JSON only: loading a bundle runs no code from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labelwright.calibration import Calibration
from labelwright.engine import Weights
from labelwright.prompt import Prompt
from labelwright.task import Task


@dataclass(frozen=True)
class Bundle:
    """Everything a row's way needs, and how it came to be. Stages map one bundle to the next.

    Attributes
    ----------
    report : mapping
        Dev metrics of this bundle by name, each in the units of ``labelwright.metrics``.
    history : tuple of mapping
        One entry a stage that ran: its name, what it decided and on which numbers.
    """

    task: Task
    prompt: Prompt
    weights: Weights
    calibration: Calibration
    report: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    def with_stage(self, entry: Mapping[str, Any], **changes: Any) -> Bundle:
        """The bundle after a stage: changed fields, and one more history entry."""
        return replace(self, **changes, history=(*self.history, entry))
