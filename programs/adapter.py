"""The same program over a language model that writes text: our prompt out, one label in.

DSPy's own adapters repeat the label list three times in a frame that an exported prompt does not have, and retry a
failed parse in another format. This one sends the very system text and row that an engine is given, and takes nothing
but a label for an answer.
"""

from __future__ import annotations

from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from labelwright.decide import render_rows
from labelwright.prompt import Prompt
from programs.convert import prompt_for


class LabelAdapter(dspy.Adapter):
    """System message: ``Prompt.system``. User message: the row. Answer: a label, whole and alone.

    Use it with ``dspy.context(lm=dspy.LM(...), adapter=LabelAdapter(prompt))``.

    Parameters
    ----------
    prompt : Prompt
        Gives labels and style; instructions and demonstrations come from the program.
    """

    def __init__(self, prompt: Prompt) -> None:
        super().__init__()
        self.prompt = prompt

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The two messages of a request."""
        (text,) = (inputs[name] for name in signature.input_fields)
        (asked,) = render_rows(prompt_for(self.prompt, signature.instructions, demos), [text])
        return [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}]

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """The label that a completion names.

        Case and surrounding white space do not matter; anything else does: a label inside a sentence is no answer.

        Raises
        ------
        AdapterParseError
            If the completion is not one of the answers.
        """
        written = completion.strip()
        names = [label.name for label in self.prompt.labels]
        by_answer = dict(zip(self.prompt.answers, names, strict=True))
        same = [name for answer, name in by_answer.items() if answer.strip().casefold() == written.casefold()]
        if written in by_answer:
            same = [by_answer[written]]  # decides between labels that differ in case only
        (output,) = signature.output_fields
        if len(same) != 1:
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"expected one of {', '.join(by_answer)} and nothing else",
            )
        return {output: same[0]}
