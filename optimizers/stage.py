"""What a stage is: Bundle -> Bundle, and what it is given to work with.

Stages are imported by name from the workbench; each keeps its state under ``context.folder`` and resumes from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits
from labelwright.engines.protocol import Engine
from labelwright.models.weights import Weights
from optimizers.kept import KeptScores


class Tracker(Protocol):
    """Where a stage reports. The workbench's tracker writes to MLflow and to the terminal."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Settings of the stage."""
        ...

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Numbers, by name; with a step they form a curve."""
        ...

    def artifact(self, path: Path) -> None:
        """A file worth keeping with the run."""
        ...

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """A table worth reading, its columns of the same length."""
        ...

    def prompt(self, role: str, text: str) -> None:
        """A prompt worth comparing: role is "before" or "after"."""
        ...

    def progress(self, done: int, total: int, message: str = "") -> None:
        """How far the stage is; ``message`` is a short live number such as "dev 0.71"."""
        ...


@dataclass(frozen=True)
class StageContext:
    """What every stage gets besides the bundle and the splits.

    Attributes
    ----------
    folder : Path
        The stage's own folder: state, checkpoints, outputs. Exists. What is in it from an interrupted run is reused.
    open_engine : callable
        Weights -> Engine, with the recipe's backend, device and dtype; the last engine opened is kept warm.
    seed : int
    close_engines : callable
        Lets the warm engine go, for a stage that needs the memory and no engine for a while.
    scores : KeptScores, optional
        What others scored already, and where to leave what others may ask.
    """

    folder: Path
    tracker: Tracker
    open_engine: Callable[[Weights], Engine]
    seed: int = 0
    close_engines: Callable[[], object] = lambda: None
    scores: KeptScores | None = None


class Stage(Protocol):
    """One way to improve a bundle.

    One that reads a file of the user's has ``check(splits, task)`` as well, which reads it and raises what ``run``
    would, before anything is scored or trained; ``splits.test`` is empty.
    """

    name: ClassVar[str]

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Return a new bundle, or the same one (with a history entry) where dev did not improve.

        ``splits.test`` is empty here.
        """
        ...
