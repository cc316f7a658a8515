"""The prompt stage: GEPA over the DSPy program, chosen on dev, resumable.

Owns the settings, the split of train, the choice, and the account of what was tried. How GEPA samples and what it
reports is in ``gepa_search``; instructions come from ``proposer`` (offline) or from a language model.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, by_label, group_keys
from labelwright.decide import probabilities
from labelwright.engines.protocol import Engine
from labelwright.errors import ModelError, RecipeError
from labelwright.files import write_json
from labelwright.prompt import Prompt
from labelwright.settings import Choice, Range, Text, check
from labelwright.statistics.metrics import answers
from optimizers.gepa import own_state
from optimizers.scores import content_of
from optimizers.stage import StageContext
from rewards import REWARDS, make_reward, reward_matrix
from rewards.outcome import Outcome, Reward

if TYPE_CHECKING:
    from optimizers.gepa.search import Propose, SearchLog

# Where GEPA keeps its state, and the copy of it that is read back.
_STATE = "gepa_state.bin"
_KEPT = "state.kept"


@dataclass(frozen=True)
class GepaStage:
    """Search for better instructions with GEPA.

    Attributes
    ----------
    max_metric_calls : int
        Rows scored by the search in all. A candidate costs ``minibatch_size``, and dev once if it is kept.
    minibatch_size : int
        Train rows on which a proposal is first compared with its parent.
    proposals_per_step : int
        Proposals made from the same parent and minibatch; the best goes on to dev.
    token_budget : int
        Most tokens that instructions may have.
    holdout_share : float
        Share of train, in [0, 0.5], kept from the search to measure how far its choice overfits dev.
    reward, reward_settings
        A name from ``rewards``, and that reward's settings.
    candidate_selection : {"pareto", "current_best"}
        Which candidate is improved next.
    reflection_model : str, optional
        A DSPy model name such as "openai/gpt-4.1-mini"; its key is read from the environment. None writes instructions
        from evidence in the train rows, offline.
    reflection_temperature : float
    num_threads : int
        DSPy threads; rows that wait together share an engine call.
    """

    name: ClassVar[str] = "gepa"

    max_metric_calls: Annotated[int, Range(1)] = 2200
    minibatch_size: Annotated[int, Range(1)] = 24
    proposals_per_step: Annotated[int, Range(1, 1000)] = 3
    token_budget: Annotated[int, Range(1)] = 320
    holdout_share: Annotated[float, Range(0, 0.5, expected="a number from 0 to 0.5")] = 0.15
    reward: Annotated[str, Choice(REWARDS)] = "label_match"
    reward_settings: Mapping[str, Any] = field(default_factory=dict)
    candidate_selection: Literal["pareto", "current_best"] = "pareto"
    reflection_model: Annotated[str | None, Text(least=1)] = None
    reflection_temperature: Annotated[float, Range(0, 10)] = 1.0
    num_threads: Annotated[int, Range(1, 1024)] = 32

    def __post_init__(self) -> None:
        check(self, "gepa.")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Return the bundle with better instructions, or the same one where dev did not improve.

        Raises
        ------
        RecipeError
            The instructions are longer than the budget to begin with; an empty train or dev split.
        ModelError
            Proposals were made and none of them could be used.
        """
        engine = context.open_engine(bundle.weights)
        self._check(bundle.prompt, splits, engine)
        reward = make_reward(self.reward, bundle.task, splits.train, self.reward_settings)
        rows, held_back = hold_back(splits.train, self.holdout_share, context.seed)
        context.tracker.params({**asdict(self), "n_train": len(rows), "n_held_back": len(held_back)})
        context.tracker.prompt("before", bundle.prompt.system)
        best, log = self._search(bundle, rows, splits.dev, reward, engine, context)
        if log.total("tried") and log.total("tried") == log.total("failed"):
            raise ModelError(_nothing_usable(self.reflection_model, log))
        context.tracker.artifact(_write_candidates(context.folder / "candidates.json", log.state, splits.dev))
        scores = log.state.program_full_scores_val_set
        improved = best != bundle.prompt and max(scores) > scores[0]
        if not improved:
            best = bundle.prompt
        changed = replace(bundle, prompt=best)
        entry = {
            "stage": self.name,
            "improved": improved,
            "reward": self.reward,
            "proposer": self.reflection_model or "evidence",
            "dev_before": scores[0],
            "dev_after": max(scores),
            **_held_back_scores(bundle, changed, held_back, reward, engine, max(scores)),
            "prompt_tokens_before": engine.count_tokens(bundle.prompt.system),
            "prompt_tokens_after": engine.count_tokens(best.system),
            **{f"n_{count}": log.total(count) for count in ("tried", "kept", "rejected", "failed")},
            "n_steps_without_errors": log.total("perfect"),
            "metric_calls": log.state.total_num_evals,
        }
        numbers = {f"gepa/{key}": float(value) for key, value in entry.items() if isinstance(value, int | float)}
        context.tracker.metrics(numbers)
        context.tracker.prompt("after", best.system)
        return changed.with_stage(entry)

    def _check(self, prompt: Prompt, splits: Splits, engine: Engine) -> None:
        n_tokens = engine.count_tokens(prompt.instructions)
        if n_tokens > self.token_budget:
            raise RecipeError(
                f"gepa.token_budget = {self.token_budget}: the instructions have {n_tokens} tokens to begin with; "
                f"raise the budget or shorten them"
            )
        for side in ("train", "dev"):
            if not getattr(splits, side):
                raise RecipeError(f"gepa needs {side} rows and the split has none: change the recipe's [split] table")

    def _search(
        self,
        bundle: Bundle,
        rows: Sequence[Example],
        dev: Sequence[Example],
        reward: Reward,
        engine: Engine,
        context: StageContext,
    ) -> tuple[Prompt, SearchLog]:
        """Run or continue ``dspy.GEPA``; the best prompt on dev, and what was tried."""
        import dspy

        from optimizers.gepa.search import ExpectedRewardSelection, SearchLog, StepSampling, quiet, usable_proposals
        from programs.convert import program_of, prompt_of
        from programs.decision import DecisionClient

        folder, inputs, stranger = _state_folder(context.folder, asdict(self), bundle, [*rows, *dev], context.seed)
        if stranger:
            context.tracker.progress(0, self.max_metric_calls, "state of another machine is not read: begins anew")
        client = DecisionClient(engine, bundle.prompt, bundle.calibration)
        client.together([row.text for row in dev])
        log = SearchLog(folder / "proposals.json", context.tracker, self.max_metric_calls, lambda: client.error)
        log.on_state = lambda: own_state.keep((folder / _STATE).read_bytes(), folder / _KEPT, inputs)
        sampling = StepSampling(
            [row.label for row in rows], self.minibatch_size, self.proposals_per_step, self.candidate_selection,
            context.seed, lambda batch: client.together([row.text for row in batch]),
        )  # fmt: skip
        propose = self._proposer(bundle.prompt, rows, engine)
        proposals = usable_proposals(propose, engine.count_tokens, self.token_budget, log, context.seed)
        with quiet(), dspy.context(lm=client):
            optimizer = dspy.GEPA(
                metric=_metric(reward, bundle.task.names),
                max_metric_calls=self.max_metric_calls,
                reflection_minibatch_size=self.minibatch_size,
                instruction_proposer=proposals,
                add_format_failure_as_feedback=True,
                # One component: there is nothing to merge.
                use_merge=False,
                num_threads=self.num_threads,
                log_dir=str(folder),
                seed=context.seed,
                gepa_kwargs={
                    "use_cloudpickle": True,
                    "sampling_strategy": sampling,
                    "selection_strategy": ExpectedRewardSelection(),
                    "callbacks": [log],
                    "stop_callbacks": [log.stop],
                },
            )
            program = optimizer.compile(
                program_of(bundle.prompt, bundle.task), trainset=_examples(rows), valset=_examples(dev)
            )
        if log.error is not None:
            raise log.error
        return prompt_of(program, bundle.prompt), log

    def _proposer(self, prompt: Prompt, rows: Sequence[Example], engine: Engine) -> Propose:
        if self.reflection_model is None:
            from optimizers.gepa.proposer import EvidenceProposer

            return EvidenceProposer(rows, prompt, engine.count_tokens, self.token_budget)
        from optimizers.gepa.reflection import Reflection

        return Reflection(self.reflection_model, self.reflection_temperature, self.token_budget)


def hold_back(rows: Sequence[Example], share: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split train in two: rows to search with, and rows to check the choice on.

    Groups stay whole. Of every label that has two groups or more, about ``share`` of its groups is held back, at least
    one; ``share`` 0 holds nothing back.

    Returns
    -------
    (kept, held back), each in the order of ``rows``
    """
    rng = random.Random(f"{seed} hold back")
    out: set[str] = set()
    if share > 0:
        for members in by_label(rows).values():
            groups = sorted(set(group_keys(members)) - out)
            rng.shuffle(groups)
            out.update(groups[: min(max(1, round(share * len(groups))), len(groups) - 1)] if len(groups) > 1 else ())
    keys = group_keys(rows)
    return (
        tuple(row for row, key in zip(rows, keys, strict=True) if key not in out),
        tuple(row for row, key in zip(rows, keys, strict=True) if key in out),
    )


def _metric(reward: Reward, names: Sequence[str]) -> Callable[..., Any]:
    """The reward as DSPy's GEPA calls a metric: a score, its feedback, and the expected reward beside it."""
    import dspy

    from optimizers.gepa.search import EXPECTED_REWARD

    values = reward_matrix(reward, names)

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        score = reward(gold.label, Outcome(pred.label, pred.probabilities, gold.text))
        p = [pred.probabilities[name] for name in names] if pred.probabilities else []
        expected = float(values[names.index(gold.label)] @ p) if p else score.value
        objectives = {EXPECTED_REWARD: expected}
        return dspy.Prediction(score=score.value, feedback=score.feedback, objective_scores=objectives)

    return metric


def _examples(rows: Sequence[Example]) -> list[Any]:
    import dspy

    return [dspy.Example(text=row.text, label=row.label).with_inputs("text") for row in rows]


def _held_back_scores(
    before: Bundle, after: Bundle, rows: Sequence[Example], reward: Reward, engine: Engine, dev_after: float
) -> dict[str, float | None]:
    """Mean reward on rows that took no part in the search, and how much better dev looks than they do."""
    if not rows:
        return {"held_back_before": None, "held_back_after": None, "overfitting": None}
    first = _mean_reward(before, rows, reward, engine)
    last = _mean_reward(after, rows, reward, engine) if after.prompt != before.prompt else first
    return {"held_back_before": first, "held_back_after": last, "overfitting": dev_after - last}


def _mean_reward(bundle: Bundle, rows: Sequence[Example], reward: Reward, engine: Engine) -> float:
    names = bundle.task.names
    values = []
    for row, p in zip(rows, probabilities(bundle, engine, [row.text for row in rows]), strict=True):
        said = int(answers(p))
        outcome = Outcome(names[said] if said >= 0 else "", dict(zip(names, map(float, p), strict=True)), row.text)
        values.append(reward(row.label, outcome).value)
    return sum(values) / len(values)


def _state_folder(
    parent: Path, settings: Mapping[str, Any], bundle: Bundle, rows: Sequence[Example], seed: int
) -> tuple[Path, str, bool]:
    """The folder of GEPA's state, the hash of the search's inputs, and whether there was state that is not our own.

    GEPA reads its state, a pickle, from wherever it finds it. So what lies there is replaced by the copy that this user
    kept of it, and everything is removed where there is none, or it belongs to a search with other inputs.
    """
    described = [{**settings, "num_threads": None}, bundle.task, bundle.prompt, content_of(bundle.weights)]
    content = repr([*described, bundle.calibration, [(row.id, row.text, row.label) for row in rows], seed])
    digest = hashlib.sha256(content.encode()).hexdigest()
    folder = parent / "gepa"
    marker = folder / "inputs.sha256"
    same = marker.is_file() and marker.read_text() == digest
    state = own_state.kept(folder / _KEPT, digest) if same else None
    stranger = same and state is None and os.path.lexists(folder / _STATE)
    if folder.is_symlink():
        folder.unlink()  # a link leads to what is not ours
        stranger = True
    if state is None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if state is None and os.path.lexists(folder / _STATE):
        raise ModelError(f"{folder / _STATE} is not ours and cannot be removed: delete it, or choose another run")
    if state is not None:
        (folder / _STATE).unlink(missing_ok=True)
        (folder / _STATE).write_bytes(state)
    marker.write_text(digest)
    return folder, digest, stranger


def _write_candidates(path: Path, state: Any, dev: Sequence[Example]) -> Path:
    """The table of candidates: text, parents, dev score, and the dev rows on which none is better."""
    fronts = state.get_pareto_front_mapping()
    table = []
    for number, candidate in enumerate(state.program_candidates):
        subscores = state.prog_candidate_val_subscores[number]
        best_on = [dev[row].id for row, front in fronts.items() if number in front and subscores[row] > 0]
        table.append(
            {
                "candidate": number,
                "parents": [parent for parent in state.parent_program_for_candidate[number] if parent is not None],
                "dev_score": state.program_full_scores_val_set[number],
                "found_after_metric_calls": state.num_metric_calls_by_discovery[number],
                "n_best_on": len(best_on),
                "best_on": best_on,
                "instructions": next(iter(candidate.values())),
            }
        )
    write_json(path, table)
    return path


def _nothing_usable(model: str | None, log: SearchLog) -> str:
    remedy = (
        "set another reflection_model, or leave it out to have instructions written from the train rows"
        if model
        else "raise token_budget, or check that the train rows hold words"
    )
    return (
        f"gepa: none of {log.total('tried')} proposals from {model or 'the evidence proposer'} could be used and the "
        f"prompt is unchanged; the last one: {log.reasons()[-1]}; {remedy}"
    )
