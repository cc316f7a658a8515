"""Models that think before they answer: a thought of bounded length, and then the closed set as always.

A thinking model is asked to think first; after at most so many tokens the thought is closed, whether or not it came to
an end, and the options are scored behind it. So a model that thinks in circles costs its budget and no more, and the
answer still cannot be invalid. The thought is plain text: nothing in it can end the turn or pass for markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.engines.protocol import Engine, has_probabilities, score_options
from labelwright.errors import ModelError
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration


@dataclass
class ThinkingCost:
    """What thinking has cost since the engine was opened.

    Attributes
    ----------
    n_thoughts : int
        Rows that were thought about.
    n_tokens : int
        Tokens of all thoughts.
    n_cut : int
        Thoughts that came within a token of the budget, and so were closed by it.
    """

    n_thoughts: int = 0
    n_tokens: int = 0
    n_cut: int = 0

    def since(self, earlier: ThinkingCost) -> ThinkingCost:
        """What was thought after an earlier look at it."""
        counts = (self.n_thoughts - earlier.n_thoughts, self.n_tokens - earlier.n_tokens, self.n_cut - earlier.n_cut)
        return ThinkingCost(*counts)

    @property
    def mean_tokens(self) -> float:
        """Tokens a thought; 0 before the first."""
        return self.n_tokens / max(self.n_thoughts, 1)

    @property
    def share_cut(self) -> float:
        """Share of thoughts closed by the budget, in [0, 1]."""
        return self.n_cut / max(self.n_thoughts, 1)


class ThinkingEngine:
    """An engine that lets its model think before the options are scored.

    Parameters
    ----------
    engine : Engine
        Whose ``generate`` continues a prompt; its template has thinking switched off.
    template : Template
        Of the same model with thinking on (``Template.thinking``).
    budget : int
        Tokens after which a thought is closed.

    Raises
    ------
    ModelError
        If the template has no thoughts to open.
    """

    def __init__(self, engine: Engine, template: Template, budget: int) -> None:
        if not template.after_thought:
            raise ModelError(f"{engine.name} cannot think: its chat template has no switch; set thinking_tokens = 0")
        self.engine = engine
        self.template = replace(template, thinking_tokens=budget)
        self.budget = budget
        self.cost = ThinkingCost()

    def __getattr__(self, name: str) -> Any:
        # Whatever else an engine offers (device, forget, tokens) is the wrapped one's.
        if name == "engine":
            raise AttributeError(name)
        return getattr(self.engine, name)

    @property
    def has_probabilities(self) -> bool:
        """As the wrapped engine."""
        return has_probabilities(self.engine)

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """Log-probability of each option after each prompt and the thought on it; see ``Engine.score``.

        A prompt rendered without thinking (another template's) is scored as it is.
        """
        return score_options(self.engine, self.think(prompts), options, calibration)

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """The free answer after a thought; see ``Engine.generate``."""
        return self.engine.generate(self.think(prompts), max_new_tokens, stop)

    def think(self, prompts: Sequence[Rendered]) -> list[Rendered]:
        """The same prompts with the model's thoughts in them."""
        close = self.template.after_thought.strip().split("\n")[0]
        open_ = [i for i, prompt in enumerate(prompts) if prompt.answer_start and not prompt.thought]
        asked = [prompts[i]._replace(answer_start="") for i in open_]
        thoughts = self.engine.generate(asked, self.budget, (close,)) if asked else []
        thought_about = list(prompts)
        for i, thought in zip(open_, thoughts, strict=True):
            # Text may be tokenised otherwise than it was written, longer where it is no text at all.
            n_tokens = min(self.engine.count_tokens(thought), self.budget)
            self.cost.n_thoughts += 1
            self.cost.n_tokens += n_tokens
            self.cost.n_cut += n_tokens >= self.budget - 1
            thought_about[i] = prompts[i]._replace(thought=thought.rstrip() or "\n")
        return thought_about
