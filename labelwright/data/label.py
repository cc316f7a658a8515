"""A class by its name: what tasks, questions and prompts are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One class: its name, and a sentence on what belongs to it (may be empty)."""

    name: str
    description: str = ""
