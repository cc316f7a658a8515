"""The scorer against free generation, alone and in batches, and what leaving options unexpanded saves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.scoring.stock import BATCH_ROWS, StockModel
from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.engines.options.expansion import Expansion
from labelwright.statistics.calibration import UNCALIBRATED, Calibration

# Enough for every label of the recipe and its end of turn.
NEW_TOKENS = 8
SCORE_GOAL = 5.0
LATENCY_GOAL = 8.0


def score_vs_generate_tuned(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """``score_vs_generate`` with tuned prompt and weights, where options can be left out."""
    return score_vs_generate(setting, n_rows, rounds, name="score_vs_generate_tuned")


def score_vs_generate(
    setting: Setting, n_rows: int = 64, rounds: int = 3, name: str = "score_vs_generate"
) -> Measurement:
    """Rows per second of ``score`` over those of greedy ``model.generate`` in batches, on the same rows.

    The scorer forgets its cached prefix before each call, so that it pays for it as often as anybody would.
    """
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine, stock = setting.engine, StockModel(setting)

    def score() -> None:
        engine.forget()
        engine.score(prompts, options, UNCALIBRATED)

    answers = stock.generate(prompts[:BATCH_ROWS], NEW_TOKENS)
    score()
    taken = take_turns(
        {
            "score": lambda: len(prompts) / seconds_of(score),
            "generate": lambda: len(prompts) / seconds_of(lambda: stock.generate(prompts, NEW_TOKENS)),
        },
        rounds,
    )
    n_prefix = len(engine.tokens.prefix(prompts[0]))
    n_row = float(np.mean([len(engine.tokens.row(prompt)) for prompt in prompts]))
    fed = count_fed(setting, n_rows)
    return ratio(
        name,
        pairwise(taken["score"], taken["generate"]),
        goal=SCORE_GOAL,
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(prompts),
            "options": len(options),
            "prefix_tokens": n_prefix,
            "row_tokens_mean": n_row,
            "nodes_fed_mean": fed,
            # What the ratio would be if both sides ran at the same rate and generation stopped after one token.
            "tokens_ratio": (n_prefix + n_row) / (n_prefix / len(prompts) + n_row + fed),
            "generate_batch_rows": BATCH_ROWS,
            "max_new_tokens": NEW_TOKENS,
            # What generation buys for its time: how often the first batch's text is a label at all.
            "generated_share_valid": float(np.mean([text.strip() in setting.task.names for text in answers])),
        },
    )


def latency(setting: Setting, n_rows: int = 24, rounds: int = 3) -> Measurement:
    """Milliseconds of one row asked alone: free generation over the scorer, whose prefix is warm as in a server.

    The value is the ratio of the medians (p50); that of the 95th percentiles is a fact.
    """
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine, stock = setting.engine, StockModel(setting)
    engine.score(prompts[:1], options, UNCALIBRATED)
    stock.generate(prompts[:1], NEW_TOKENS)
    tails: dict[str, list[float]] = {"score": [], "generate": []}

    def each_alone(side: str, answer: Callable[[list], object]) -> float:
        taken = [1000 * seconds_of(lambda one=prompt: answer([one])) for prompt in prompts]  # type: ignore[misc]
        tails[side].append(float(np.percentile(taken, 95)))
        return float(np.median(taken))

    taken = take_turns(
        {
            "score": lambda: each_alone("score", lambda one: engine.score(one, options, UNCALIBRATED)),
            "generate": lambda: each_alone("generate", lambda one: stock.generate(one, NEW_TOKENS)),
        },
        rounds,
    )
    return ratio(
        "latency",
        pairwise(taken["generate"], taken["score"]),
        goal=LATENCY_GOAL,
        sides={name: Side("ms/row", tuple(values)) for name, values in taken.items()},
        facts={
            "rows": len(prompts),
            "batch_rows": 1,
            "max_new_tokens": NEW_TOKENS,
            "p95_ms": {side: float(np.median(values)) for side, values in tails.items()},
            "p95_ratio": float(np.median(pairwise(tails["generate"], tails["score"]))),
        },
    )


def expansion(setting: Setting, n_rows: int = 64, rounds: int = 3, name: str = "expansion") -> Measurement:
    """Rows per second with options left out that cannot hold their share, over expanding every option of every row."""
    prompts = setting.rendered(n_rows)
    options = setting.prompt.options
    engine = setting.engine
    default = engine.unexpanded_mass
    scores: dict[str, NDArray[np.float64]] = {}

    def rate(side: str, mass: float) -> float:
        engine.unexpanded_mass = mass

        def score() -> None:
            scores[side] = engine.score(prompts, options, UNCALIBRATED)

        return len(prompts) / seconds_of(score)

    engine.score(prompts, options, UNCALIBRATED)
    try:
        taken = take_turns({"bounded": lambda: rate("bounded", default), "whole": lambda: rate("whole", 0.0)}, rounds)
    finally:
        engine.unexpanded_mass = default
    return ratio(
        name,
        pairwise(taken["bounded"], taken["whole"]),
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(prompts),
            "options": len(options),
            "unexpanded_mass": default,
            "max_probability_difference": float(np.abs(_softmax(scores["bounded"]) - _softmax(scores["whole"])).max()),
            "nodes": engine.tokens.tree(options).n_nodes,
            "nodes_fed_mean": count_fed(setting, n_rows),
        },
    )


def expansion_tuned(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """``expansion`` with the tuned bundle."""
    return expansion(setting, n_rows, rounds, "expansion_tuned")


def count_fed(setting: Setting, n_rows: int, calibration: Calibration | None = UNCALIBRATED) -> float:
    """Tree nodes that the scorer feeds, a row; with no calibration all of them."""
    fed = 0
    original = Expansion.feed

    def counting(self: Expansion, places: NDArray[np.bool_], edge_log_probs: NDArray[np.float64]) -> None:
        nonlocal fed
        fed += int(places[:, 1:].sum())
        original(self, places, edge_log_probs)

    Expansion.feed = counting  # type: ignore[method-assign]
    try:
        prompts = setting.rendered(n_rows)
        setting.engine.score(prompts, setting.prompt.options, calibration)
    finally:
        Expansion.feed = original  # type: ignore[method-assign]
    return fed / len(prompts)


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
