"""Choosing among prompts on dev under a token budget: what the demos and the neighbours stage have in common.

A prompt with examples leans towards the labels that it shows, and every classifier of the house is calibrated
afterwards. So prompts are compared with that lean taken out (``optimizers.prior``, from the dev texts themselves,
without their labels): by accuracy, then log loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example
from labelwright.decide import render_rows
from labelwright.engines.protocol import Engine
from labelwright.errors import DataError
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.metrics import Floats, Ints
from optimizers.prior import prior_bias
from optimizers.scores import dev_numbers, gold_of, kept_scores, rank
from optimizers.stage import StageContext

# Ends the names of numbers of probabilities with the prior removed.
_EVEN = "_prior_removed"


@dataclass(frozen=True)
class Choice:
    """The best prompt, and the numbers of all.

    Attributes
    ----------
    tried : tuple of mapping
        One a prompt, the one that came in first: what was said of it, and prompt_tokens, and where it was within the
        budget accuracy, log_loss, and both with the prior removed.
    best : int
        Which of them; 0 where none is better than what came in.
    """

    prompt: Prompt
    tried: tuple[dict[str, Any], ...]
    best: int


def choose_prompt(
    bundle: Bundle,
    prompts: Iterable[tuple[Mapping[str, Any], Prompt]],
    dev: Sequence[Example],
    context: StageContext,
    token_budget: int,
) -> Choice:
    """The prompt that is best on dev, which may be the bundle's own.

    Parameters
    ----------
    prompts : iterable of (mapping, Prompt)
        What to say of each, and the prompt; earlier ones win a tie, the bundle's own before all.
    token_budget : int
        The most tokens that a prompt may have, row included, on average over dev.

    Raises
    ------
    DataError
        If dev is empty.
    """
    if not dev:
        raise DataError("the dev split is empty: give [splits] dev a share, such as 0.12; it chooses the examples")
    gold, engine = gold_of(bundle, dev), context.open_engine(bundle.weights)
    tried: list[dict[str, Any]] = []
    best, best_prompt = 0, bundle.prompt
    for number, (about, prompt) in enumerate([({"k": 0}, bundle.prompt), *prompts]):
        tokens = mean_tokens(prompt, dev, engine)
        tried.append({**about, "prompt_tokens": round(tokens)})
        if number and tokens > token_budget:
            continue
        scores = kept_scores(replace(bundle, prompt=prompt), dev, context, f"dev_{number}")
        tried[-1] |= numbers_of(scores, gold)
        if number and rank(tried[-1], _EVEN) > rank(tried[best], _EVEN):
            best, best_prompt = number, prompt
        context.tracker.metrics({f"prompt.{key}": value for key, value in tried[-1].items() if key != "how"}, number)
    return Choice(best_prompt, tuple(tried), best)


def with_choice(
    bundle: Bundle, choice: Choice, stage: str, settings: Mapping[str, Any], context: StageContext
) -> Bundle:
    """The bundle after the stage: the chosen prompt, without the calibration that belonged to the other."""
    context.tracker.prompt("before", bundle.prompt.shown)
    context.tracker.prompt("after", choice.prompt.shown)
    entry = {
        "stage": stage,
        "kept": choice.best > 0,
        "k": choice.tried[choice.best]["k"],
        "settings": dict(settings),
        "dev_before": choice.tried[0],
        "dev_after": choice.tried[choice.best],
        "tried": list(choice.tried),
    }
    if not choice.best:
        return bundle.with_stage(entry)
    fresh = Calibration(rotations=bundle.calibration.rotations)
    return bundle.with_stage(entry, prompt=choice.prompt, calibration=fresh)


def numbers_of(scores: Floats, gold: Ints) -> dict[str, float]:
    """accuracy and log_loss, and both with the prior of these rows removed; scores of shape (n_rows, n_labels)."""
    raw = Calibration().apply(scores)
    even = Calibration(bias=tuple(prior_bias(raw.mean(axis=0)))).apply(scores)
    return dev_numbers(raw, gold) | {f"{name}{_EVEN}": value for name, value in dev_numbers(even, gold).items()}


def mean_tokens(prompt: Prompt, rows: Sequence[Example], engine: Engine) -> float:
    """Tokens of the whole prompt, on average over rows."""
    prompts = render_rows(prompt, [row.text for row in rows])
    shared = engine.count_tokens("".join(prompts[0].prefix))
    return shared + sum(engine.count_tokens("".join(one[3:])) for one in prompts) / len(prompts)
