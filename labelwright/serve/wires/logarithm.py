"""The logarithm of a probability, for protocols that have log-probabilities or scores before a softmax."""

from __future__ import annotations

import math

# What OpenAI writes for a probability of 0, for which JSON has no logarithm.
NO_LOGPROB = -9999.0


def log_probability(probability: float) -> float:
    """The natural logarithm, as JSON can hold it.

    >>> log_probability(1.0), log_probability(0.0)
    (0.0, -9999.0)
    """
    return math.log(probability) if probability > 0.0 else NO_LOGPROB
