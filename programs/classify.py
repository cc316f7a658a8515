"""The DSPy program that everything in this folder asks: one ``dspy.Predict``."""

from __future__ import annotations

from collections.abc import Mapping

import dspy
from dspy.adapters.decision import record_evidence

from labelwright.data.task import Task
from programs.descriptions import read_descriptions
from programs.signature import OUTPUT, signature_for


class Classify(dspy.Module):
    """Text in, label out, with probabilities where the backend has them.

    The prediction holds ``label`` and ``probabilities`` (label name -> probability; empty over a language model that
    only writes text).

    Optimizers of DSPy rewrite the instructions of predictors and nothing else. So label descriptions that are to be
    rewritten are the instructions of a second predictor, which is never asked: they are the criteria of the first one's
    choice, and what the first answers is what both have in their traces.

    Parameters
    ----------
    task : Task
    descriptions : str, optional
        As ``programs.descriptions`` writes them; None leaves descriptions to the prompt.
    """

    def __init__(self, task: Task, descriptions: str | None = None) -> None:
        super().__init__()
        signature = signature_for(task)
        self.predict = dspy.Predict(signature)
        self.names = task.names
        self.descriptions = None if descriptions is None else dspy.Predict(signature.with_instructions(descriptions))
        self._set = ""

    @property
    def criteria(self) -> Mapping[str, str | None]:
        """Label name -> description; None where it is the prompt's own."""
        if self.descriptions is None:
            return dict(self.predict.get_criteria(OUTPUT))
        return dict.fromkeys(self.names, "") | read_descriptions(self.descriptions.signature.instructions, self.names)

    def forward(self, text: str) -> dspy.Prediction:
        """Classify one text."""
        if self.descriptions is not None and self._set != self.descriptions.signature.instructions:
            # Threads that come at once all set the same.
            self.predict.set_criteria(OUTPUT, self.criteria)
            self._set = self.descriptions.signature.instructions
        with record_evidence() as evidence:
            predicted = self.predict(text=text)
        if self.descriptions is not None and dspy.settings.trace is not None:
            dspy.settings.trace.append((self.descriptions, {"text": text}, predicted))
        # One entry an output, of which there is one: (predictor, output name, evidence).
        probabilities = evidence[-1][2]["probabilities"] if evidence else {}
        return dspy.Prediction(label=predicted.label, probabilities=probabilities)
