"""What GEPA is given to run by: how it samples, what it reports, when it stops.

GEPA draws from one random stream that is not part of its saved state. Here every draw starts from (seed, iteration)
instead, so that a search that was killed and started again goes on exactly as it would have.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy.utils.parallelizer
import gepa.core.engine
import tqdm
from gepa.gepa_utils import idxmax, select_program_candidate_from_pareto_front
from gepa.strategies.proposal_sampling import ProposalTask

from labelwright.files import write_json
from optimizers.stage import Tracker

# (instruction, reflective rows, random numbers) -> another instruction; raises where it has none.
Propose = Callable[[str, Sequence[Mapping[str, Any]], random.Random], str]
# The metric's second number, beside the score.
EXPECTED_REWARD = "expected_reward"
# So many proposals in a row, none usable: the proposer is broken, not unlucky.
_HOPELESS = 10


class StepSampling:
    """GEPA's ``SamplingStrategy``: one parent and one minibatch a step, several proposals for them.

    All proposals of a step are judged on the same rows as their parent, which is scored once. Minibatches are
    stratified: in an epoch every label's rows are spread evenly.

    Parameters
    ----------
    labels : sequence of str
        Gold labels of the trainset, in its order.
    on_minibatch : callable
        Told each minibatch before it is scored.
    """

    def __init__(
        self,
        labels: Sequence[str],
        minibatch_size: int,
        n_proposals: int,
        selection: str,
        seed: int,
        on_minibatch: Callable[[Sequence[Any]], None],
    ) -> None:
        self.labels = labels
        self.minibatch_size = min(minibatch_size, len(labels))
        self.n_proposals = n_proposals
        self.selection = selection
        self.seed = seed
        self.on_minibatch = on_minibatch

    def sample_tasks(self, state: Any, candidate_selector: Any, batch_sampler: Any, trainset: Any) -> list[Any]:
        """The step's tasks; ``state.i`` is the iteration, counted from 0."""
        parent = self._parent(state)
        ids = self.minibatch(state.i)
        rows = trainset.fetch(ids)
        self.on_minibatch(rows)
        return [ProposalTask(parent, state.program_candidates[parent], ids, rows) for _ in range(self.n_proposals)]

    def minibatch(self, iteration: int) -> list[int]:
        """Row positions of an iteration's minibatch; an epoch's remainder shorter than a minibatch is left out."""
        per_epoch = len(self.labels) // self.minibatch_size
        epoch, number = divmod(iteration, per_epoch)
        order = self._epoch_order(epoch)
        return order[number * self.minibatch_size : (number + 1) * self.minibatch_size]

    def _epoch_order(self, epoch: int) -> list[int]:
        rng = random.Random(f"{self.seed} epoch {epoch}")
        place: list[tuple[float, int]] = []
        for label in sorted(set(self.labels)):
            rows = [i for i, gold in enumerate(self.labels) if gold == label]
            rng.shuffle(rows)
            offset = rng.random()
            place += [((number + offset) / len(rows), row) for number, row in enumerate(rows)]
        return [row for _, row in sorted(place)]

    def _parent(self, state: Any) -> int:
        scores = state.per_program_tracked_scores
        if self.selection == "current_best":
            return int(idxmax(scores))
        # Built anew in sorted order: a set that went through a file may iterate in another.
        fronts = {row: set(sorted(front)) for row, front in state.get_pareto_front_mapping().items()}  # noqa: C414
        rng = random.Random(f"{self.seed} parent {state.i}")
        return int(select_program_candidate_from_pareto_front(fronts, scores, rng))


class ExpectedRewardSelection:
    """GEPA's ``SelectionStrategy``: a step's proposal with the highest expected reward, if its parent's is lower.

    The expected reward of a row is the mean reward of a label drawn from P(label | row). On a minibatch it tells good
    instructions from bad ones better than the reward of the likeliest label, which jumps: over 22 instructions, SmolLM2
    and rows of the homeowner set, 24 rows' expected reward correlated 0.53 with accuracy on all other rows, their
    accuracy 0.41. What is best on dev is still decided by the reward itself.
    """

    def select(self, proposals: list[Any], state: Any, acceptance_criterion: Any) -> list[Any]:
        """The proposal to go on with, or none."""
        best = max(proposals, key=lambda proposal: _expected_reward(proposal.eval_after))
        return [best] if _expected_reward(best.eval_after) > _expected_reward(best.eval_before) else []


def _expected_reward(evaluation: Any) -> float:
    """Sum over a minibatch; a row that failed counts its score."""
    objectives = evaluation.objective_scores or [{}] * len(evaluation.scores)
    rows = zip(objectives, evaluation.scores, strict=True)
    return float(sum(objective.get(EXPECTED_REWARD, score) for objective, score in rows))


@dataclass
class StepCounts:
    """What became of the proposals of one step; tried = kept + rejected + failed.

    Attributes
    ----------
    perfect : bool
        Every row of the minibatch was right already, so nothing was proposed.
    """

    tried: int = 0
    kept: int = 0
    rejected: int = 0
    failed: int = 0
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
            self.steps = {int(key): StepCounts(**step) for key, step in json.loads(path.read_text()).items()}
        self.now = StepCounts()
        self.iteration = 0
        self._n_reported = 0
        self._last = self._best = 0.0

    def total(self, count: str) -> int:
        """Sum of a count over all steps."""
        return sum(getattr(step, count) for step in self.steps.values())

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
        """A candidate has its dev score."""
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
        """A proposal joined the candidates."""
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
        """Dev scores of candidates not yet reported, those of an interrupted run included."""
        scores = state.program_full_scores_val_set
        for number in range(self._n_reported, len(scores)):
            self._last, self._best = scores[number], max(scores[: number + 1])
            self.tracker.metrics({"gepa/dev_score": self._last, "gepa/best_dev_score": self._best}, step=number)
        self._n_reported = len(scores)

    def _progress(self, n_calls: int) -> None:
        message = f"dev {self._last:.2f} best {self._best:.2f}"
        self.tracker.progress(min(n_calls, self.max_metric_calls), self.max_metric_calls, message)


def usable_proposals(
    propose: Propose, count_tokens: Callable[[str], int], token_budget: int, log: SearchLog, seed: int
) -> Callable[..., dict[str, str]]:
    """GEPA's ``ProposalFn`` around a proposer: counts what is tried, refuses what cannot be used.

    A failure is counted and answered with no proposal. Were it raised, GEPA would ask again for every proposal of the
    step, log the error where nobody looks, and return the seed in the end.
    """

    def proposals(
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        texts: dict[str, str] = {}
        for component in components_to_update:
            log.now.tried += 1
            # Nothing of this depends on how often the process was started; tried tells a step's proposals apart.
            rng = random.Random(repr((seed, log.iteration, log.now.tried, candidate[component])))
            try:
                text = propose(candidate[component], reflective_dataset[component], rng).strip()
                if not text or text == candidate[component].strip():
                    raise ValueError("the proposal is empty or changes nothing")
                n_tokens = count_tokens(text)
                if n_tokens > token_budget:
                    raise ValueError(f"the proposal has {n_tokens} tokens, the budget is {token_budget}")
                texts[component] = text
            except Exception as error:
                log.now.failed += 1
                log.now.reasons.append(one_line(error))
        return texts

    return proposals


def one_line(error: BaseException) -> str:
    """An exception as a short line, with the values of secrets in the environment taken out."""
    text = f"{type(error).__name__}: {error}"
    for name, value in os.environ.items():
        if re.search(r"KEY|TOKEN|SECRET|PASSWORD", name) and len(value) >= 8:
            text = text.replace(value, "***")
    return " ".join(text.split())[:300]


class _SilentBar(tqdm.tqdm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


@contextmanager
def quiet() -> Iterator[None]:
    """Keep DSPy's and GEPA's log lines and progress bars off the console; our tracker speaks for them.

    Both draw their bars unconditionally under ``dspy.GEPA``, so the bar class itself is exchanged for the time.
    """
    loggers: Mapping[str, int] = {name: logging.getLogger(name).level for name in ("dspy", "gepa")}
    bars = gepa.core.engine.tqdm, dspy.utils.parallelizer.tqdm
    gepa.core.engine.tqdm, dspy.utils.parallelizer.tqdm = _SilentBar, SimpleNamespace(tqdm=_SilentBar)
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        gepa.core.engine.tqdm, dspy.utils.parallelizer.tqdm = bars
        for name, level in loggers.items():
            logging.getLogger(name).setLevel(level)
