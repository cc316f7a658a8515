"""Small stand-ins shared by the tests: an engine that reads words instead of running a model, and a toy dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Label, Splits, Task
from labelwright.models.weights import Base
from labelwright.prompt import Prompt, Rendered, Template
from labelwright.statistics.calibration import Calibration


class FakeEngine:
    """Scores an option by how many of the row's words share a line with its name in the system text.

    So instructions that say ``pool: chlorine, skimmer`` really help, as evidence helps a real model. Deterministic.
    """

    name = "fake"
    n_shortened = 0

    def __init__(self) -> None:
        self.template = Template()
        self.calls: list[tuple[int, int]] = []

    def score(self, prompts: Sequence[Rendered], options: Sequence[str]) -> np.ndarray:
        self.calls.append((len(prompts), len(options)))
        rows = [self._row(prompt, options) for prompt in prompts]
        return np.array(rows, dtype=np.float64).reshape(len(prompts), len(options))

    def _row(self, prompt: Rendered, options: Sequence[str]) -> np.ndarray:
        words = set(re.findall(r"\w+", prompt.user.lower()))
        logits = []
        for k, option in enumerate(options):
            answer = option.strip().lower()
            known: set[str] = set(re.findall(r"\w+", answer))
            for line in prompt.system.lower().splitlines():
                if answer in line:
                    known |= set(re.findall(r"\w+", line))
            # The small slope is the prior that real models have for some labels over others.
            logits.append(1.5 * len(words & known) - 0.05 * k)
        values = np.array(logits)
        return values - np.log(np.exp(values).sum()) - 0.1

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        return [" something else" if len(prompt.user) % 2 else " pool" for prompt in prompts]

    def count_tokens(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text))


WORDS = {
    "pool": ["chlorine", "skimmer", "swim", "liner", "algae", "deep"],
    "fence": ["post", "panel", "picket", "gate", "rail", "boundary"],
    "hvac": ["furnace", "duct", "filter", "cooling", "vent", "airflow"],
}


def toy_task() -> Task:
    return Task("toy", "Name the topic of the message.", tuple(Label(name) for name in WORDS))


def toy_examples(n_groups: int = 12) -> list[Example]:
    """Two rows a group, ``n_groups`` groups a label; one row in four names its label."""
    rows = []
    for label, words in WORDS.items():
        for g in range(n_groups):
            first, second = words[g % len(words)], words[(g + 1) % len(words)]
            named = label if g % 4 == 0 else "thing"
            group = f"{label}-{g}"
            texts = (
                f"my {named} has a {first} near the {second} no {g}",
                f"the {second} broke so who mends a {first} today {g}",
            )
            rows += [Example(group + "ab"[i], text, label, group=group) for i, text in enumerate(texts)]
    return rows


def toy_splits() -> Splits:
    parts: dict[str, list[Example]] = {"train": [], "dev": [], "calib": [], "test": []}
    sides = ["train", "train", "train", "dev", "calib", "test"]
    for example in toy_examples():
        number = int(str(example.group).rsplit("-", 1)[1])
        parts[sides[number % len(sides)]].append(example)
    return Splits(**{side: tuple(rows) for side, rows in parts.items()})


def toy_bundle(engine: FakeEngine | None = None) -> Bundle:
    task = toy_task()
    template = (engine or FakeEngine()).template
    return Bundle(task, Prompt.for_task(task, template), Base("fake"), Calibration())
