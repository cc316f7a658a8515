"""The scorer against llama.cpp on the same weights: what people do with it, and our engine over it."""

from __future__ import annotations

import numpy as np

from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of, take_turns
from labelwright.engines.settings import EngineSettings
from labelwright.models.loading import load_tokenizer, saved_merged
from labelwright.models.weights import Base
from labelwright.statistics.calibration import UNCALIBRATED

GOAL = 2.0
SLOTS = (1, 4, 16)


def score_vs_llamacpp(setting: Setting, n_rows: int = 64, rounds: int = 3) -> Measurement:
    """Rows per second of ``score`` over those of llama.cpp that decodes a label under a grammar, in GGUF Q8_0.

    llama.cpp keeps its prompt cache from call to call, so the scorer keeps its prefix too. The number of slots is the
    best of ``SLOTS`` in a first round.
    """
    from labelwright.engines.llamacpp import LlamaCppEngine
    from labelwright.models.gguf import cached_gguf

    prompts, options, engine = setting.rendered(n_rows), setting.prompt.options, setting.engine
    gguf = cached_gguf(saved_merged(setting.weights), "q8_0")
    tokenizer = load_tokenizer(Base(setting.weights.base))
    settings = EngineSettings(backend="llamacpp")

    def opened(slots: int) -> LlamaCppEngine:
        return LlamaCppEngine(gguf, tokenizer, setting.weights.base, settings, slots=slots)

    first = {}
    for slots in SLOTS:
        llama = opened(slots)
        llama.decode(prompts[:slots], options)
        first[slots] = len(prompts) / seconds_of(lambda one=llama: one.decode(prompts, options))  # type: ignore[misc]
        del llama
    best = max(first, key=lambda slots: first[slots])
    llama = opened(best)
    decoded = llama.decode(prompts, options)
    scores = engine.score(prompts, options, UNCALIBRATED)
    few = prompts[: min(8, n_rows)]
    exact = llama.score(few, options, UNCALIBRATED)
    taken = take_turns(
        {
            "score": lambda: len(prompts) / seconds_of(lambda: engine.score(prompts, options, UNCALIBRATED)),
            "llama.cpp, grammar": lambda: len(prompts) / seconds_of(lambda: llama.decode(prompts, options)),
            "llama.cpp, all probabilities": lambda: (
                len(few) / seconds_of(lambda: llama.score(few, options, UNCALIBRATED))
            ),
        },
        rounds,
    )
    chosen = [options.index(text) if text in options else -1 for text in decoded]
    return ratio(
        "score_vs_llamacpp",
        pairwise(taken["score"], taken["llama.cpp, grammar"]),
        goal=GOAL,
        sides={side: Side("rows/s", tuple(values)) for side, values in taken.items()},
        facts={
            "rows": len(prompts),
            "gguf": "Q8_0",
            "slots": best,
            "rows_per_second_by_slots": {str(slots): value for slots, value in first.items()},
            "rows_with_all_probabilities": len(few),
            # Greedy decoding picks the likeliest first token, the scorer the likeliest whole label.
            "grammar_agrees_with_argmax": float(np.mean(np.array(chosen) == scores.argmax(axis=1))),
            "all_probabilities_agree": float(np.mean(exact.argmax(axis=1) == scores[: len(few)].argmax(axis=1))),
        },
    )
