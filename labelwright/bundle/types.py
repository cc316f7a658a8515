"""The bundle: everything that answers, in one plain value.

Stages take one and return one, so that their order is free and the untuned model is just the first.
``labelwright.bundle.store`` makes files of it, ``labelwright.decide`` answers with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from labelwright.data.task import Task
from labelwright.decisions.decision import Decision
from labelwright.decisions.promise import NO_PROMISE, Promise
from labelwright.decisions.scope import Scope
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Weights
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import Floats


@dataclass(frozen=True)
class Bundle:
    """Everything a row's way needs, and how it came to be. Stages map one bundle to the next.

    Attributes
    ----------
    report : mapping
        Dev metrics of this bundle by name, each in the units of ``labelwright.statistics.metrics``.
    history : tuple of mapping
        One entry a stage that ran: its name, what it decided and on which numbers.
    unexpanded_mass : float
        In [0, 1): the share of probability that its engine may leave unexpanded, as the recipe had it
        (``labelwright.engines.settings.EngineSettings``).
    long_rows : {"refuse", "head", "head_tail"}
        What is done to a row that the model cannot read whole, as the recipe had it.
    promise : Promise
        What calib rows say of the errors of this very classifier, and what is asked of that.
    scope : Scope, optional
        What tells rows that belong to no label; without it every row gets one.
    pass_on : float
        In [0, 1]: the probability below which a row gets no label and is left to whoever comes after, a larger model
        or a person; 0: nobody does.
    said_from : tuple of float
        One a point of the task, in (0, 1): of a label the probability from which on it is said, of other points a half.
        Empty: a half for all.
    """

    task: Task
    prompt: Prompt
    weights: Weights
    calibration: Calibration
    report: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    unexpanded_mass: float = EngineSettings.unexpanded_mass
    long_rows: str = EngineSettings.long_rows
    promise: Promise = NO_PROMISE
    scope: Scope | None = None
    pass_on: float = 0.0
    said_from: tuple[float, ...] = ()

    @cached_property
    def choosing(self) -> Decision:
        """Which label its probabilities make, whether or not it is said."""
        return Decision.of_task(self.task, self.said_from)

    @cached_property
    def decision(self) -> Decision:
        """What its probabilities become."""
        decision = Decision.of_task(self.task, self.said_from, self.promise.thresholds(len(self.task.names)))
        return replace(decision, scoped=self.scope is not None, pass_on=self.pass_on)

    @cached_property
    def set_thresholds(self) -> Floats | None:
        """The probability from which on each label belongs to a row's set; None where its promise gives no sets."""
        return self.promise.set_thresholds(len(self.task.names))

    def outside(self, texts: Sequence[str], probs: Floats) -> Any:
        """Which rows belong to no label, bool of shape (n_rows,); None where the bundle does not ask.

        Parameters
        ----------
        probs : ndarray of shape (n_rows, n_labels)
            Its own.

        Raises
        ------
        MissingExtraError, ModelError
            Where the encoder cannot be opened.
        """
        return None if self.scope is None else self.scope.outside(texts, probs)

    def with_stage(self, entry: Mapping[str, Any], **changes: Any) -> Bundle:
        """The bundle after a stage: changed fields, and one more history entry.

        A stage that makes another classifier keeps no promise and no scope of the one before, passes no row on, and
        says labels from a half on: who does not bring ``promise``, ``scope``, ``pass_on`` or ``said_from`` has none.
        """
        fresh = {"promise": NO_PROMISE, "scope": None, "pass_on": 0.0, "said_from": ()}
        return replace(self, **{**fresh, **changes}, history=(*self.history, entry))
