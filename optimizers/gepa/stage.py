"""The prompt stage: GEPA over the DSPy program, chosen on dev, confirmed on rows held back, resumable.

Owns the settings, the split of train and the history's entry. The search itself is GEPA's, as ``search`` has it run;
new instructions come from ``proposer`` (offline) or from a language model (``reflection``); what an answer is worth and
which program is taken is in ``choice``.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from labelwright.bundle.types import Bundle
from labelwright.data.families import family_names
from labelwright.data.task import Example, Splits
from labelwright.engines.protocol import Engine
from labelwright.errors import DataError, ModelError, RecipeError
from labelwright.files import read_json
from labelwright.prompt import Prompt
from labelwright.settings import Check, Choice, Items, Range, Text, check, shown, url_fault
from optimizers.gepa.choice.confirmation import Program, Tried, confirm, least_families
from optimizers.gepa.choice.objective import OBJECTIVES, CalibratedAnswers, Objective
from optimizers.gepa.choice.race import N_PARTS, Race
from optimizers.gepa.components.descriptions import DescriptionProposer
from optimizers.gepa.components.parts import COMPONENTS, DESCRIPTIONS, INSTRUCTIONS, PREDICTORS, Parts
from optimizers.gepa.own_state import StateFolder
from optimizers.gepa.pareto_front import draw_front
from optimizers.gepa.programs import show_programs, write_programs
from optimizers.gepa.proposer import EvidenceProposer, ProposerElsewhere
from optimizers.gepa.search_log import SearchLog
from optimizers.kept import KeptScores, weights_fingerprint
from optimizers.scores import gold_of
from optimizers.stage import StageContext
from programs.descriptions import read_descriptions, write_descriptions
from rewards import AUTO, REWARDS, make_reward
from rewards.outcome import Reward

if TYPE_CHECKING:
    from optimizers.gepa.search import Propose

# Of proposals, as ``SearchLog`` counts them.
COUNTS = ("tried", "kept", "rejected", "failed", "given_up", "repaired")


@dataclass(frozen=True)
class GepaStage:
    """Search for better instructions with GEPA.

    Attributes
    ----------
    max_metric_calls : int
        Rows scored by the search in all. A proposal costs ``minibatch_size``, and dev once if it is kept. The step that
        reaches them is done to its end.
    minibatch_size : int
        Train rows on which a proposal is first compared with its parent.
    proposals_per_step : int
        Proposals made from the same parent and minibatch; the best goes on to dev. The first step makes more and keeps
        more, as far as the calls go (``sampling.n_first``).
    token_budget : int
        Most tokens that instructions may have, and descriptions with them where they may change.
    components : tuple of {"instructions", "descriptions"}
        What may change: the instructions, the labels' descriptions, or each in turns.
    holdout_share : float
        Share of train, in [0, 0.5], kept from the search: a program is taken where it gains on these rows as well. Of a
        small train more is kept, up to half, since so few rows could confirm nothing (``least_families``).
    validation_share : float
        Share of train, in [0, 0.5], on which programs are chosen beside dev, and from which no evidence is taken.
    objective : {"reward", "expected_reward", "log_loss"}
        What programs are chosen by, on calibrated probabilities: see ``choice.objective``.
    confidence : float in [0, 0.999]
        With which a program must gain on the rows held back to be taken; 0 takes what dev says. Where train is too
        small for it nothing is searched, and the note says so. By a test for which losses are as likely as gains of
        their size: where mistakes are rare and dear (``[costs]``), programs that gain nothing pass more often.
    must_not_regress : tuple of str
        Ids of train or dev rows. A program that has one of them wrong which the first instructions have right is never
        taken.
    reward, reward_settings
        A name from ``rewards``, and that reward's settings.
    race_confidence : float in [0, 0.999]
        With which a proposal must be worse than the best so far, on the validation rows scored until then, to be given
        up before all are scored (``choice.race``); 0 scores all.
    candidate_selection : {"pareto", "current_best"}
        Which program is improved next; GEPA calls them candidates.
    reflection_model : str, optional
        A DSPy model name such as "openai/gpt-4.1-mini"; its key is read from the environment. None writes instructions
        from evidence in the train rows, offline.
    reflection_url : str, optional
        An OpenAI-compatible server such as "http://127.0.0.1:8080/v1" writes them; ``reflection_model`` is then its
        name for the model, by default the first that it names.
    reflection_temperature : float
    num_threads : int
        DSPy threads; rows that wait together share an engine call.
    """

    name: ClassVar[str] = "gepa"

    max_metric_calls: Annotated[int, Range(1)] = 1800
    minibatch_size: Annotated[int, Range(1)] = 24
    proposals_per_step: Annotated[int, Range(1, 1000)] = 3
    token_budget: Annotated[int, Range(1)] = 320
    components: Annotated[tuple[Annotated[str, Choice(COMPONENTS)], ...], Items(1)] = (INSTRUCTIONS,)
    holdout_share: Annotated[float, Range(0, 0.5, expected="a number from 0 to 0.5")] = 0.15
    validation_share: Annotated[float, Range(0, 0.5, expected="a number from 0 to 0.5")] = 0.0
    objective: Annotated[str, Choice(OBJECTIVES)] = "expected_reward"
    confidence: Annotated[float, Range(0, 0.999, expected="a number from 0 to 0.999")] = 0.95
    must_not_regress: tuple[Annotated[str, Text(least=1)], ...] = ()
    reward: Annotated[str, Choice(REWARDS)] = AUTO
    reward_settings: Mapping[str, Any] = field(default_factory=dict)
    race_confidence: Annotated[float, Range(0, 0.999, expected="a number from 0 to 0.999")] = 0.0
    candidate_selection: Literal["pareto", "current_best"] = "pareto"
    reflection_model: Annotated[str | None, Text(least=1)] = None
    reflection_url: Annotated[str | None, Text(least=1), Check(url_fault)] = None
    reflection_temperature: Annotated[float, Range(0, 10)] = 1.0
    num_threads: Annotated[int, Range(1, 1024)] = 32

    def __post_init__(self) -> None:
        check(self, "gepa.")

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Return the bundle with better instructions, or the same one where none were confirmed to be better.

        ``held_back_before`` and ``held_back_after`` of the history are of the rows that confirmed what was taken, as
        one of up to ``MOST_TRIED``: the gain between them is a little high, and ``overfitting`` a little low.

        Raises
        ------
        RecipeError
            The instructions are longer than the budget to begin with; an empty train or dev split; label descriptions
            that are to be changed and cannot be told from the labels' names.
        ModelError
            Proposals were made and none of them could be used.
        """
        engine = context.open_engine(bundle.weights)
        parts = Parts(bundle.prompt, self.components, engine.count_tokens)
        self._check(parts, splits)
        guarded = _rows_of(self.must_not_regress, splits)
        reward = make_reward(self.reward, bundle.task, splits.train, self.reward_settings)
        objective = Objective.of(self.objective, reward, bundle)
        least = least_families(self.confidence) if self.confidence and self.holdout_share else 0
        searched, held_back = hold_back(splits.train, self.holdout_share, context.seed, least, guarded)
        n_families = len(set(family_names(held_back)))
        if n_families < least:
            return self._unsearched(bundle, n_families, least, reward, context)
        rows, more = hold_back(searched, self.validation_share, context.seed)
        validation = (*splits.dev, *more)
        context.tracker.params(
            {**asdict(self), "n_train": len(rows), "n_held_back": len(held_back), "n_validation": len(validation)}
        )
        context.tracker.prompt("before", bundle.prompt.shown)
        kept = context.scores or KeptScores(context.folder / "scores")
        n_parts = N_PARTS if self.race_confidence else 1
        answers = CalibratedAnswers(bundle, validation, rows, engine, kept, context.seed, n_parts)
        prompts, log = self._search(parts, rows, reward, objective, answers, context)
        if log.total("tried") and log.total("tried") == log.total("failed"):
            raise ModelError(_nothing_usable(self._reflects, log))
        gold = gold_of(bundle, validation)
        programs = [
            Program(
                number, prompt, parts.n_tokens(prompt),
                objective.values(answers.on_validation(prompt), gold),
            )
            for number, prompt in enumerate(prompts)
        ]  # fmt: skip
        path = write_programs(
            context.folder / "programs.json", log.state, validation, [one.n_tokens for one in programs]
        )
        show_programs(path, context.tracker)
        front = context.folder / "pareto-front.png"
        draw_front(read_json(path), [row.id for row in validation], front)
        context.tracker.artifact(front)
        found = confirm(programs, validation, held_back, guarded, answers, objective, self.confidence)
        first, taken = programs[0], found.taken
        entry = {
            "stage": self.name,
            "improved": taken is not first,
            "note": found.note,
            "objective": self.objective,
            "reward": reward.name,
            "components": list(self.components),
            "proposer": self._reflects or "evidence",
            "proposals": _proposals_told(log),
            "dev_before": float(first.values.mean()),
            "dev_after": float(taken.values.mean()),
            "dev_best": max(float(one.values.mean()) for one in programs),
            **self._held_back(first, taken, held_back, answers, objective),
            "confirmation": [_told(one, first) for one in found.tried],
            "prompt_tokens_before": engine.count_tokens(bundle.prompt.system),
            "prompt_tokens_after": engine.count_tokens(taken.prompt.system),
            **{f"n_{count}": log.total(count) for count in COUNTS},
            "n_steps_without_errors": log.total("perfect"),
            "metric_calls": log.state.total_num_evals,
        }
        numbers = {f"gepa/{key}": float(value) for key, value in entry.items() if isinstance(value, int | float)}
        context.tracker.metrics(numbers)
        context.tracker.prompt("after", taken.prompt.shown)
        best, done = entry["dev_best"], self.max_metric_calls
        context.tracker.progress(done, done, f"best {best:.2f}, {'taken' if entry['improved'] else 'not taken'}")
        return replace(bundle, prompt=taken.prompt).with_stage(entry)

    def _unsearched(self, bundle: Bundle, n_families: int, least: int, reward: Reward, context: StageContext) -> Bundle:
        """The bundle as it came: no program that a search may find could be taken, so none is paid for."""
        note = (
            f"not searched: {n_families} families of train rows can be held back, none of must_not_regress, and to "
            f"confirm a program at confidence {self.confidence:g} takes {least}; add train rows, lower "
            f"gepa.confidence, or set it to 0 to take what dev says"
        )
        for role in ("before", "after"):
            context.tracker.prompt(role, bundle.prompt.shown)
        context.tracker.params({**asdict(self), "n_held_back_families": n_families})
        context.tracker.progress(1, 1, note)
        entry = {"stage": self.name, "improved": False, "note": note, "objective": self.objective}
        return bundle.with_stage({**entry, "reward": reward.name, "confirmation": []})

    def _check(self, parts: Parts, splits: Splits) -> None:
        if parts.describes and parts.base.restricts_rows:
            raise RecipeError(
                "gepa.components: rows do not share one list of labels (they bring choices, or are asked several "
                'points), whose descriptions could change: leave it out, or set it to ["instructions"]'
            )
        if parts.describes:
            labels = parts.base.labels
            try:
                read_descriptions(write_descriptions(labels), [label.name for label in labels])
            except DataError as error:
                raise RecipeError(
                    "gepa.components: labels and their descriptions are read from lines of the one, a colon and the "
                    f"other, and as these are that cannot be done ({error}); change that label's name or description, "
                    'or set it to ["instructions"]'
                ) from error
        n_tokens = parts.n_tokens(parts.base)
        if n_tokens > self.token_budget:
            raise RecipeError(
                f"gepa.token_budget = {self.token_budget}: the {' and '.join(self.components)} have {n_tokens} tokens "
                f"to begin with; raise the budget or shorten them"
            )
        for side in ("train", "dev"):
            if not getattr(splits, side):
                raise RecipeError(f"gepa needs {side} rows and the split has none: change the recipe's [splits] table")

    def _search(
        self,
        parts: Parts,
        rows: Sequence[Example],
        reward: Reward,
        objective: Objective,
        answers: CalibratedAnswers,
        context: StageContext,
    ) -> tuple[list[Prompt], SearchLog]:
        """Run or continue ``dspy.GEPA``; the prompts of its programs, the first first, and what was tried."""
        import dspy

        from optimizers.gepa.sampling import ExpectedRewardSelection, StepSampling, n_first
        from optimizers.gepa.search import examples_of, metric_of, quiet, usable_proposals
        from programs.decision import DecisionClient

        bundle, engine, validation = answers.bundle, answers.engine, answers.validation
        inputs = _inputs(asdict(self), bundle, [*rows, *validation], context.seed)
        state = StateFolder.open(context.folder / "gepa", inputs)
        if state.stranger:
            context.tracker.progress(0, self.max_metric_calls, "state of another machine is not read: begins anew")
        client = DecisionClient(engine, bundle.prompt, decision=bundle.decision, answers=answers)
        client.together([row.text for row in validation])
        log = SearchLog(state.folder / "proposals.json", context.tracker, self.max_metric_calls, lambda: client.error)
        log.on_state = state.keep
        n = n_first(
            self.max_metric_calls, len(validation), min(self.minibatch_size, len(rows)), self.proposals_per_step
        )
        sampling = StepSampling(
            [row.label for row in rows], self.minibatch_size, self.proposals_per_step, self.candidate_selection,
            context.seed, lambda batch: client.together([row.text for row in batch]), n,
        )  # fmt: skip
        propose = self._proposers(bundle.prompt, rows, engine, log)
        proposals = usable_proposals(propose, parts, self.token_budget, log, context.seed)

        def race(candidate: Mapping[str, str], leader: Mapping[str, str]) -> int:
            run = Race(answers, objective, self.race_confidence, client.shared)
            lost = run.rows_until_given_up(parts.prompt(candidate), parts.prompt(leader))
            if lost:
                log.on_given_up()
            return lost

        def search() -> None:
            with quiet(), dspy.context(lm=client):
                optimizer = dspy.GEPA(
                    metric=metric_of(reward, objective, bundle.task.names),
                    max_metric_calls=self.max_metric_calls,
                    reflection_minibatch_size=self.minibatch_size,
                    instruction_proposer=proposals,
                    component_selector=parts.turns,
                    add_format_failure_as_feedback=True,
                    # A merge takes whole components of two programs, and there are two at most.
                    use_merge=False,
                    num_threads=self.num_threads,
                    log_dir=str(state.folder),
                    seed=context.seed,
                    gepa_kwargs={
                        "use_cloudpickle": True,
                        "sampling_strategy": sampling,
                        "selection_strategy": ExpectedRewardSelection(race if self.race_confidence else None, n),
                        "callbacks": [log],
                        "stop_callbacks": [log.stop],
                    },
                )
                first = parts.program(bundle.task)
                optimizer.compile(first, trainset=examples_of(rows), valset=examples_of(validation))

        client.serve(search)
        if log.error is not None:
            raise log.error
        return [bundle.prompt, *map(parts.prompt, log.state.program_candidates[1:])], log

    def _held_back(
        self,
        first: Program,
        taken: Program,
        rows: Sequence[Example],
        answers: CalibratedAnswers,
        objective: Objective,
    ) -> dict[str, float | None]:
        """The objective on rows that took no part in the search, and how much better dev looks than they do."""
        if not rows:
            return {"held_back_before": None, "held_back_after": None, "overfitting": None}
        gold = gold_of(answers.bundle, rows)
        before, after = (
            float(objective.values(answers.elsewhere(one.prompt, rows), gold).mean()) for one in (first, taken)
        )
        return {
            "held_back_before": before,
            "held_back_after": after,
            "overfitting": float(taken.values.mean()) - after,
        }

    @property
    def _reflects(self) -> str | None:
        """The language model that writes instructions, in words; None where none does."""
        if self.reflection_url:
            return f"{self.reflection_model or 'the model'} at {self.reflection_url}"
        return self.reflection_model

    def _proposers(self, prompt: Prompt, rows: Sequence[Example], engine: Engine, log: SearchLog) -> dict[str, Propose]:
        """A proposer for each component, by GEPA's name for it."""
        if self._reflects is None:

            def instructions(evidence: Sequence[Example], judges: Sequence[Example]) -> EvidenceProposer:
                return EvidenceProposer(evidence, prompt, engine.count_tokens, judges)

            def descriptions(evidence: Sequence[Example], judges: Sequence[Example]) -> DescriptionProposer:
                return DescriptionProposer(instructions(evidence, judges))

            known: dict[str, Callable[[Sequence[Example], Sequence[Example]], Propose]]
            known = {INSTRUCTIONS: instructions, DESCRIPTIONS: descriptions}
            return {PREDICTORS[name]: ProposerElsewhere(rows, known[name]) for name in self.components}
        from optimizers.gepa.reflection import Reflection

        asked = self.reflection_model or "", self.reflection_url or "", self.reflection_temperature, log.on_repair
        return {PREDICTORS[name]: Reflection(*asked, name) for name in self.components}


def hold_back(
    rows: Sequence[Example], share: float, seed: int, least: int = 0, never: Sequence[Example] = ()
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split train in two: rows to search with, and rows to check the choice on.

    Families (groups and near copies, ``family_names``) stay whole. Of every label that has two or more, about ``share``
    of its families is held back, at least one; ``share`` 0 holds nothing back.

    Parameters
    ----------
    least : int
        So many families are held back even where ``share`` is fewer, as long as no label gives more than half of its
        own.
    never : sequence of Example
        Rows of train or elsewhere whose families are not held back: who chooses by them has seen them.

    Returns
    -------
    (kept, held back), each in the order of ``rows``
    """
    rng = random.Random(f"{seed} hold back")
    names = family_names([*rows, *never])
    keys, seen = names[: len(rows)], set(names[len(rows) :])
    out: set[str] = set()
    if share > 0:
        # Of each label: families that could still be held back, and how many may be.
        left: list[tuple[list[str], int]] = []
        for label in dict.fromkeys(row.label for row in rows):
            every = {key for key, row in zip(keys, rows, strict=True) if row.label == label} - out
            families = sorted(every - seen)
            rng.shuffle(families)
            n = min(max(1, round(share * len(every))), len(every) - 1)
            out.update(families[:n])
            left.append((families[n:], len(every) // 2 - n))
        # In turns, so that none gives much more than the others.
        for turn in range(max((n for _, n in left), default=0)):
            for families, n in left:
                if turn < min(n, len(families)) and len(out) < least:
                    out.add(families[turn])
    return (
        tuple(row for row, key in zip(rows, keys, strict=True) if key not in out),
        tuple(row for row, key in zip(rows, keys, strict=True) if key in out),
    )


def _rows_of(ids: Sequence[str], splits: Splits) -> list[Example]:
    """The train and dev rows of these ids. Raises RecipeError that names all that are not among them."""
    known = {row.id: row for row in (*splits.train, *splits.dev)}
    if unknown := [id for id in ids if id not in known]:
        raise RecipeError(
            f"gepa.must_not_regress: no row of train or dev has the id {', '.join(map(shown, unknown))}; name rows of "
            f"these two splits by what the data's id column says"
        )
    return [known[id] for id in ids]


def _told(one: Tried, first: Program) -> dict[str, Any]:
    """A program that was tried, for the history."""
    return {
        "program": one.program.number,
        "n_tokens": one.program.n_tokens,
        "dev_gain": float((one.program.values - first.values).mean()),
        "held_back_gain": None if one.gain is None else list(one.gain),
        "p_value": None if one.gain is None else one.p_value,
        "regressed": list(one.regressed),
    }


def _inputs(settings: Mapping[str, Any], bundle: Bundle, rows: Sequence[Example], seed: int) -> str:
    """A hash of all that a search depends on."""
    described = [{**settings, "num_threads": None}, bundle.task, bundle.prompt, weights_fingerprint(bundle.weights)]
    content = repr([*described, bundle.calibration, [(row.id, row.text, row.label) for row in rows], seed])
    return hashlib.sha256(content.encode()).hexdigest()


def _proposals_told(log: SearchLog) -> str:
    """How often a proposal helped, in words."""
    counts = ("tried", "kept", "failed", "given_up", "repaired")
    tried, kept, failed, given_up, repaired = (log.total(count) for count in counts)
    told = f"{kept} of {tried} kept"
    told += f", {failed} not usable" if failed else ""
    told += f", {given_up} given up before all validation rows were scored" if given_up else ""
    return told + (f", {repaired} replies did not parse and were handed back once" if repaired else "")


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
