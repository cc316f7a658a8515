"""The sentence that goes with every score: what was answered, what is gold, and how probable each was."""

from __future__ import annotations

from rewards.outcome import Outcome


def feedback(gold: str, outcome: Outcome) -> str:
    """Names gold and its strongest rival: the label that was answered, or the runner-up where the answer is right.

    Labels without a probability (a backend that only writes text) are named without one.

    >>> feedback("water heater", Outcome("hvac", {"hvac": 0.55, "water heater": 0.31, "pool": 0.14}))
    'Wrong: answered hvac 0.55; gold is water heater 0.31.'
    >>> feedback("pool", Outcome("pool", {"hvac": 0.2, "pool": 0.7, "fence": 0.1}))
    'Right: pool 0.70; runner-up is hvac 0.20.'
    """
    if outcome.label != gold:
        known = not outcome.probs or outcome.label in outcome.probs
        answered = _named(outcome.label, outcome) if known else f"{outcome.label!r}, which is not a label"
        return f"Wrong: answered {answered}; gold is {_named(gold, outcome)}."
    rivals = {name: p for name, p in outcome.probs.items() if name != gold}
    if not rivals:
        return f"Right: {_named(gold, outcome)}."
    return f"Right: {_named(gold, outcome)}; runner-up is {_named(max(rivals, key=rivals.__getitem__), outcome)}."


def _named(label: str, outcome: Outcome) -> str:
    return f"{label} {outcome.probs[label]:.2f}" if label in outcome.probs else label
