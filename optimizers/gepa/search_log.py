"""The account of a search: what became of every proposal, and progress while it runs.

GEPA says "candidate" for a program, that is, for instructions; its callbacks and its state have that in their names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from labelwright.files import read_json, write_json
from optimizers.stage import Tracker

# So many proposals in a row, none usable: the proposer is broken, not unlucky.
_HOPELESS = 10


@dataclass
class StepCounts:
    """What became of the proposals of one step; tried = kept + rejected + failed.

    Attributes
    ----------
    given_up : int
        Of those rejected, how many were better on their minibatch and worse on validation rows (``choice.race``).
    repaired : int
        Replies of a language model that did not parse and were handed back to it once, whatever came of that.
    perfect : bool
        Every row of the minibatch was right already, so nothing was proposed.
    """

    tried: int = 0
    kept: int = 0
    rejected: int = 0
    failed: int = 0
    given_up: int = 0
    repaired: int = 0
    perfect: bool = False
    reasons: list[str] = field(default_factory=list)


def _guarded(method: Callable[[SearchLog, Any], None]) -> Callable[[SearchLog, Any], None]:
    """GEPA logs exceptions of callbacks and goes on; keep them, to be raised where it listens."""

    @wraps(method)
    def guarded(self: SearchLog, event: Any) -> None:
        try:
            method(self, event)
        except Exception as error:
            self.error = self.error or error

    return guarded


class SearchLog:
    """GEPA callback: counts proposals, reports progress and scores, stops the search.

    Counts are kept in a file by iteration, so that a continued search counts a repeated step once.

    Parameters
    ----------
    path : Path
        The file.
    failure : callable
        Returns the error of the engine, if there was one: DSPy scores rows that raise as 0 and goes on.
    """

    def __init__(
        self, path: Path, tracker: Tracker, max_metric_calls: int, failure: Callable[[], BaseException | None]
    ) -> None:
        self.path = path
        self.tracker = tracker
        self.max_metric_calls = max_metric_calls
        self.failure = failure
        self.error: BaseException | None = None
        self.state: Any = None
        self.on_state: Callable[[], None] = lambda: None
        self.steps: dict[int, StepCounts] = {}
        if path.is_file():
            self.steps = {int(key): StepCounts(**step) for key, step in read_json(path).items()}
        self.now = StepCounts()
        self.iteration = 0
        self._n_reported = 0
        self._last = self._best = 0.0

    def total(self, count: str) -> int:
        """Sum of a count over all steps."""
        return sum(getattr(step, count) for step in self.steps.values())

    def on_given_up(self) -> None:
        """A race was lost."""
        self.now.given_up += 1

    def on_repair(self) -> None:
        """A reply did not parse."""
        self.now.repaired += 1

    def reasons(self) -> list[str]:
        """Why proposals failed, in order."""
        return [reason for step in self.steps.values() for reason in step.reasons]

    def stop(self, state: Any) -> bool:
        """GEPA's ``StopperProtocol``, asked before each save: raises what went wrong since the last."""
        error = self.failure() or self.error
        if error is not None:
            raise error
        hopeless = self.total("tried") >= _HOPELESS and self.total("tried") == self.total("failed")
        return hopeless or max(state.program_full_scores_val_set) >= 1.0

    @_guarded
    def on_valset_evaluated(self, event: Any) -> None:
        """A program has its dev score."""
        self._last = event["average_score"]
        self._best = max(self._best, self._last)

    @_guarded
    def on_budget_updated(self, event: Any) -> None:
        """Metric calls were spent."""
        self._progress(event["metric_calls_used"])

    @_guarded
    def on_iteration_start(self, event: Any) -> None:
        """A step begins."""
        self.now, self.iteration = StepCounts(), event["iteration"]
        self._report(event["state"])
        self._progress(event["state"].total_num_evals)

    @_guarded
    def on_evaluation_skipped(self, event: Any) -> None:
        """The minibatch gave nothing to learn from."""
        self.now.perfect = event["reason"] == "all_scores_perfect"

    @_guarded
    def on_candidate_accepted(self, event: Any) -> None:
        """A proposal joined the programs."""
        self.now.kept += 1

    @_guarded
    def on_candidate_rejected(self, event: Any) -> None:
        """A proposal did not improve on its minibatch, or another one did more."""
        self.now.rejected += 1

    @_guarded
    def on_iteration_end(self, event: Any) -> None:
        """A step is over."""
        if self.failure() is not None:
            return  # its scores are not to be believed; the step will be repeated
        self.steps[event["iteration"]] = self.now
        write_json(self.path, {key: asdict(step) for key, step in self.steps.items()})
        self._report(event["state"])

    @_guarded
    def on_state_saved(self, event: Any) -> None:
        """The state up to here is on disk."""
        self.on_state()

    @_guarded
    def on_optimization_end(self, event: Any) -> None:
        """The search is over."""
        self.on_state()
        self.state = event["final_state"]
        self._report(self.state)
        self._progress(self.state.total_num_evals)

    def _report(self, state: Any) -> None:
        """Dev scores of programs not yet reported, those of an interrupted run included."""
        scores = state.program_full_scores_val_set
        for number in range(self._n_reported, len(scores)):
            self._last, self._best = scores[number], max(scores[: number + 1])
            self.tracker.metrics({"gepa/dev_score": self._last, "gepa/best_dev_score": self._best}, step=number)
        self._n_reported = len(scores)

    def _progress(self, n_calls: int) -> None:
        message = f"dev {self._last:.2f} best {self._best:.2f}"
        self.tracker.progress(min(n_calls, self.max_metric_calls), self.max_metric_calls, message)
