"""The scorer against free generation, alone and in batches, and its pruning against scoring everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.engines.transformers import GENERATE_ROWS

# Enough for every label of the recipe and its end of turn.
NEW_TOKENS = 8
SCORE_GOAL = 3.0


def score_vs_generate_tuned(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """``score_vs_generate`` with tuned prompt and weights, where pruning has something to prune."""
    return score_vs_generate(setting, n_rows, rounds, name="score_vs_generate_tuned")


def score_vs_generate(
    setting: Setting, n_rows: int = 64, rounds: int = 3, name: str = "score_vs_generate"
) -> Measurement:
    """Rows per second of ``score`` over those of greedy ``generate`` in batches, on the same rows.

    The scorer forgets its cached prefix before each call, so that it pays for it as often as anybody would.
    """
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine = setting.engine

    def score() -> None:
        engine.forget()
        engine.score(prompts, options)

    answers = engine.generate(prompts[:GENERATE_ROWS], NEW_TOKENS)
    score()
    taken = take_turns(
        {
            "score": lambda: len(prompts) / seconds_of(score),
            "generate": lambda: len(prompts) / seconds_of(lambda: engine.generate(prompts, NEW_TOKENS)),
        },
        rounds,
    )
    return ratio(
        name,
        pairwise(taken["score"], taken["generate"]),
        goal=SCORE_GOAL,
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(prompts),
            "options": len(options),
            "prefix_tokens": len(engine.tokens.prefix(prompts[0])),
            "row_tokens_mean": float(np.mean([len(engine.tokens.row(prompt)) for prompt in prompts])),
            "generate_batch_rows": GENERATE_ROWS,
            "max_new_tokens": NEW_TOKENS,
            # What generation buys for its time: how often the first batch's text is a label at all.
            "generated_share_valid": float(np.mean([text.strip() in setting.task.names for text in answers])),
        },
    )


def latency(setting: Setting, n_rows: int = 16, rounds: int = 3) -> Measurement:
    """Milliseconds of one row asked alone: free generation over the scorer, whose prefix is warm as in a server."""
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine = setting.engine
    engine.score(prompts[:1], options)
    engine.generate(prompts[:1], NEW_TOKENS)

    def each_alone(answer: Callable[[list], object]) -> float:
        return 1000 * seconds_of(lambda: [answer([prompt]) for prompt in prompts]) / len(prompts)

    taken = take_turns(
        {
            "score": lambda: each_alone(lambda one: engine.score(one, options)),
            "generate": lambda: each_alone(lambda one: engine.generate(one, NEW_TOKENS)),
        },
        rounds,
    )
    return ratio(
        "latency",
        pairwise(taken["generate"], taken["score"]),
        sides={name: Side("ms/row", tuple(values)) for name, values in taken.items()},
        facts={"rows": len(prompts), "batch_rows": 1, "max_new_tokens": NEW_TOKENS},
    )


def pruning(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """Rows per second with options left out that cannot hold mass, over scoring every option of every row."""
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine = setting.engine
    default = engine.unexpanded_mass
    scores: dict[str, NDArray[np.float64]] = {}

    def rate(name: str, mass: float) -> float:
        engine.unexpanded_mass = mass

        def score() -> None:
            scores[name] = engine.score(prompts, options)

        return len(prompts) / seconds_of(score)

    engine.score(prompts, options)
    try:
        taken = take_turns({"pruned": lambda: rate("pruned", default), "whole": lambda: rate("whole", 0.0)}, rounds)
    finally:
        engine.unexpanded_mass = default
    difference = np.abs(_probabilities(scores["pruned"]) - _probabilities(scores["whole"])).max()
    return ratio(
        "pruning",
        pairwise(taken["pruned"], taken["whole"]),
        sides={name: Side("rows/s", tuple(values)) for name, values in taken.items()},
        facts={"rows": len(prompts), "unexpanded_mass": default, "max_probability_difference": float(difference)},
    )


def _probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
