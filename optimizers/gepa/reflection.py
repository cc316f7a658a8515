"""Instructions written by a language model that sees rows, answers and feedback: DSPy's own proposer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.teleprompt.gepa.instruction_proposal import InstructionProposer


class Reflection:
    """Asks a language model for a better instruction.

    Parameters
    ----------
    model : str
        As ``dspy.LM`` takes it, such as "openai/gpt-4.1-mini"; its key is read from the environment.
    temperature : float
        At 0 the same question gets the same answer.
    token_budget : int
        Told to the model, in words; who calls checks it.
    """

    def __init__(self, model: str, temperature: float, token_budget: int) -> None:
        self.lm = open_reflection_lm(model, temperature)
        self.vary = temperature > 0
        self.ask = InstructionProposer(
            additional_instructions=(
                f"At most {token_budget * 2 // 3} words. The list of labels follows the instruction by itself: do not "
                "repeat it. The model that reads it is small and answers with a label only: say in short, concrete "
                "sentences which words and situations belong to which label, and how to tell confused labels apart."
            )
        )

    def __call__(self, instruction: str, reflective_rows: Sequence[Mapping[str, Any]], rng: random.Random) -> str:
        """A new instruction; the same random state gives the same one while DSPy's cache holds it."""
        # Without a rollout id, DSPy's cache would answer a repeated question with the same text.
        lm = self.lm.copy(rollout_id=rng.getrandbits(31)) if self.vary else self.lm
        with dspy.context(lm=lm):
            return self.ask({"instruction": instruction}, {"instruction": list(reflective_rows)}, ["instruction"])[
                "instruction"
            ]


def open_reflection_lm(model: str, temperature: float) -> dspy.LM:
    """The language model that writes instructions."""
    return dspy.LM(model, temperature=temperature, max_tokens=4000)
