"""The DSPy program that everything in this folder asks: one ``dspy.Predict``."""

from __future__ import annotations

import dspy
from dspy.adapters.decision import record_evidence

from labelwright.data.task import Task
from programs.signature import signature_for


class Classify(dspy.Module):
    """Text in, label out, with probabilities where the backend has them.

    The prediction holds ``label`` and ``probabilities`` (label name -> probability; empty over a language model that
    only writes text).

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.predict = dspy.Predict(signature_for(task))

    def forward(self, text: str) -> dspy.Prediction:
        """Classify one text."""
        with record_evidence() as evidence:
            label = self.predict(text=text).label
        # One entry an output, of which there is one: (predictor, output name, evidence).
        probabilities = evidence[-1][2]["probabilities"] if evidence else {}
        return dspy.Prediction(label=label, probabilities=probabilities)
