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
from labelwright.statistics.metrics import Floats
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
class SoftLabels:
    """Rows without labels, and what a teacher says of them, for a stage that has ``learns_soft``.

    Attributes
    ----------
    texts : tuple of str
    probs : float64 array (n_texts, n_labels)
        In the order of the task's labels; a row sums to 1.
    """

    texts: tuple[str, ...]
    probs: Floats


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
    answers : Path, optional
        The folder where answers of larger models are kept for all who ask the same; without it a stage keeps its own.
    soft : SoftLabels, optional
        What a student learns besides train rows.
    """

    folder: Path
    tracker: Tracker
    open_engine: Callable[[Weights], Engine]
    seed: int = 0
    close_engines: Callable[[], object] = lambda: None
    scores: KeptScores | None = None
    answers: Path | None = None
    soft: SoftLabels | None = None


class Stage(Protocol):
    """One way to improve a bundle.

    One that reads a file of the user's has ``check(splits, task)`` as well, which reads it and raises what ``run``
    would, before anything is scored or trained; ``splits.test`` is empty. One that can learn a teacher's probabilities
    has ``learns_soft = True``: no other is given any.
    """

    name: ClassVar[str]

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Return a new bundle, or the same one (with a history entry) where dev did not improve.

        ``splits.test`` is empty here.
        """
        ...
