"""The question a program asks: one text in, one of the task's labels out."""

from __future__ import annotations

from typing import Literal

import dspy

from labelwright.data.task import Task

OUTPUT = "label"


def signature_for(task: Task) -> type[dspy.Signature]:
    """A DSPy signature ``text -> label`` with the task's instructions.

    ``label`` is a ``Literal`` of the label names in label order, so DSPy treats it as a decision with a closed answer
    space. Label descriptions are not part of it: they belong to the ``Prompt``, which writes the label list, or to the
    predictor's criteria.
    """
    fields = {
        "text": (str, dspy.InputField(desc="the text to classify")),
        # Literal takes its members as a tuple; a decision output needs a description.
        OUTPUT: (Literal[task.names], dspy.OutputField(desc="the label that fits best")),
    }
    return dspy.Signature(fields, task.instructions)
