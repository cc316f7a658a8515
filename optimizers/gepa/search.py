"""``dspy.GEPA`` as the house uses it: our reward for a metric, our proposers, and nothing on the console.

Which rows and parents a step takes is in ``sampling``, what became of its proposals in ``search_log``.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dspy
import dspy.utils.parallelizer
import gepa.core.engine
import tqdm

from labelwright.data.task import Example
from labelwright.plain_text import without_secrets
from optimizers.gepa.choice.objective import Objective
from optimizers.gepa.components.parts import Parts
from optimizers.gepa.sampling import EXPECTED_REWARD
from optimizers.gepa.search_log import SearchLog
from rewards.outcome import Outcome, Reward

# (text, reflective rows, random numbers, tokens it may have) -> another text; raises where it has none.
Propose = Callable[[str, Sequence[Mapping[str, Any]], random.Random, int], str]


def metric_of(reward: Reward, objective: Objective, names: Sequence[str]) -> Callable[..., Any]:
    """The objective as DSPy's GEPA calls a metric: a score, the reward's feedback, and what minibatches are judged by.

    That is the objective, or the expected reward in place of the reward, which jumps (``ExpectedRewardSelection``).
    """
    smooth = replace(objective, name="expected_reward") if objective.name == "reward" else objective

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        said = reward(gold.label, Outcome(pred.label, pred.probabilities, gold.text))
        score = judged = said.value
        if pred.probabilities:
            score, judged = (one.value(pred.probabilities, names, gold.label) for one in (objective, smooth))
        return dspy.Prediction(score=score, feedback=said.feedback, objective_scores={EXPECTED_REWARD: judged})

    return metric


def examples_of(rows: Sequence[Example]) -> list[dspy.Example]:
    """Rows as DSPy takes them."""
    return [dspy.Example(text=row.text, label=row.label).with_inputs("text") for row in rows]


def usable_proposals(
    propose: Mapping[str, Propose], parts: Parts, token_budget: int, log: SearchLog, seed: int
) -> Callable[..., dict[str, str]]:
    """GEPA's ``ProposalFn`` around a proposer a component: counts what is tried, refuses what cannot be used.

    A failure is counted and answered with no proposal. Were it raised, GEPA would ask again for every proposal of the
    step, log the error where nobody looks, and return the seed in the end.
    """

    def proposals(
        candidate: dict[str, str],  # GEPA passes it by this name
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        texts: dict[str, str] = {}
        for component in components_to_update:
            log.now.tried += 1
            # Nothing of this depends on how often the process was started; tried tells a step's proposals apart.
            rng = random.Random(repr((seed, log.iteration, log.now.tried, candidate[component])))
            try:
                room = parts.room(candidate, component, token_budget)
                text = propose[component](candidate[component], reflective_dataset[component], rng, room).strip()
                if not text or text == candidate[component].strip():
                    raise ValueError("the proposal is empty or changes nothing")
                n_tokens = parts.n_tokens(parts.prompt({**candidate, component: text}))
                if n_tokens > token_budget:
                    raise ValueError(f"the proposal has {n_tokens} tokens, the budget is {token_budget}")
                texts[component] = text
            except Exception as error:
                log.now.failed += 1
                log.now.reasons.append(without_secrets(f"{type(error).__name__}: {error}"))
        return texts

    return proposals


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
