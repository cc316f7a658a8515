"""Instructions written by a language model that sees rows, answers and feedback: DSPy's own proposer.

The model is hosted, or behind the URL of an OpenAI-compatible server, such as llama.cpp's own on this machine. A small
one often answers in another form than it was asked for: its reply is then handed back once, to be put right.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from dspy.adapters.json_adapter import JSONAdapter
from dspy.teleprompt.gepa.instruction_proposal import InstructionProposer
from dspy.utils.exceptions import AdapterParseError

from labelwright.errors import ModelError
from optimizers.gepa.components.parts import DESCRIPTIONS, INSTRUCTIONS

# A reply that is handed back is cut here: who did not find an end is not asked to read all of it.
_LONGEST_REPLY = 4000
_MAX_TOKENS, _TIMEOUT_S = 4000, 600


class _Repair(dspy.Signature):
    """A reply was to be a new instruction, and did not come in the form that was asked for. Give the instruction in it,
    in its own words, without anything around it."""

    reply: str = dspy.InputField()
    new_instruction: str = dspy.OutputField()


# What is said beside DSPy's own words, for each component.
_ASKED = {
    INSTRUCTIONS: (
        "At most {words} words. The list of labels follows the instruction by itself: do not "
        "repeat it. The model that reads it is small and answers with a label only: say in short, concrete "
        "sentences which words and situations belong to which label, and how to tell confused labels apart."
    ),
    DESCRIPTIONS: (
        "At most {words} words. What is to be improved is the list of labels: a line each, of the label, a colon, and "
        "a description that may be empty. Answer with such lines and nothing else, the labels as they are: say in a "
        "few concrete words what belongs to each label that was missed or confused."
    ),
}


class Reflection:
    """Asks a language model for a better instruction.

    Parameters
    ----------
    model : str
        As ``dspy.LM`` takes it, such as "openai/gpt-4.1-mini"; its key is read from the environment. With a URL its
        server's name for it; empty for the first that it names.
    url : str
        Of an OpenAI-compatible server, such as "http://127.0.0.1:8080/v1"; empty for a hosted model.
    temperature : float
        At 0 the same question gets the same answer.
    on_repair : callable
        Told each time that a reply is handed back.
    component : {"instructions", "descriptions"}
        What is asked for.
    """

    def __init__(
        self,
        model: str,
        url: str,
        temperature: float,
        on_repair: Callable[[], object],
        component: str = INSTRUCTIONS,
    ) -> None:
        self.lm, self.url = open_reflection_lm(model, url, temperature), url
        self.vary = temperature > 0
        self.on_repair = on_repair
        self.repair = dspy.Predict(_Repair)
        self.asked = _ASKED[component]

    def __call__(
        self, instruction: str, reflective_rows: Sequence[Mapping[str, Any]], rng: random.Random, token_budget: int
    ) -> str:
        """A new instruction; the same random state gives the same one while DSPy's cache holds it.

        Parameters
        ----------
        token_budget : int
            Most tokens that it should have: told to the model, in words; who calls checks it.

        Raises
        ------
        AdapterParseError
            A reply that does not parse, twice.
        """
        # DSPy's cache knows a question by the model's name and the rollout id. The rollout id therefore stands for the
        # URL, since a model of the same name may say something else elsewhere; and for the draw, where answers vary.
        which = f"{self.url} {rng.getrandbits(31)}" if self.vary else self.url
        lm = self.lm.copy(rollout_id=random.Random(which).getrandbits(31)) if which else self.lm
        ask = InstructionProposer(additional_instructions=self.asked.format(words=max(token_budget * 2 // 3, 1)))
        with warnings.catch_warnings(), dspy.context(lm=lm):
            # DSPy's cache does heed it at temperature 0, which is what it is for.
            warnings.filterwarnings("ignore", "rollout_id has no effect when temperature=0")
            try:
                asked = {"instruction": instruction}, {"instruction": list(reflective_rows)}, ["instruction"]
                return ask(*asked)["instruction"]
            except AdapterParseError as error:
                self.on_repair()
                reply = error.lm_response[:_LONGEST_REPLY]
            with dspy.context(adapter=JSONAdapter()):
                return str(self.repair(reply=reply).new_instruction)


def open_reflection_lm(model: str, url: str, temperature: float) -> dspy.LM:
    """The language model that writes instructions.

    Raises
    ------
    ModelError
        Nobody at the URL, or no model there.
    """
    if not url:
        return dspy.LM(model, temperature=temperature, max_tokens=_MAX_TOKENS)
    from labelwright.engines.servers.http import client, served_models

    server = client(url)
    served = list(served_models(server, url))
    if model and served and model not in served:
        raise ModelError(f"gepa.reflection_url: {url} offers {', '.join(served[:8])}, not {model!r}: correct the model")
    if not model and not served:
        raise ModelError(f"gepa.reflection_url: {url} names no model: set gepa.reflection_model to the one it serves")
    name, key = model or served[0], server.api_key
    # A server that answers nothing in so long a time is asked no second time: the proposal counts as failed.
    return dspy.LM(
        f"openai/{name}", api_base=url, api_key=key, temperature=temperature, max_tokens=_MAX_TOKENS,
        timeout=_TIMEOUT_S, num_retries=0,
    )  # fmt: skip
