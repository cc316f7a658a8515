"""Made rows: texts, labels and bundles of any size, by a seed. What they are right about counts for nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import baselines
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import Label, Task
from labelwright.statistics.calibration import Calibration

# From wherever a case is run.
WORDS = Path(__file__).resolve().parents[2] / "data/homeowner/homeowner.jsonl"
# Rows that a baseline is fitted on, a label.
FITTED_ROWS = 4
INSTRUCTIONS = "Which of these is the text about?"


@cache
def vocabulary() -> tuple[str, ...]:
    """Plain words of the shipped dataset, sorted."""
    with WORDS.open(encoding="utf-8") as lines:
        words = {word.lower() for line in lines for word in json.loads(line)["text"].split()}
    return tuple(sorted(word for word in words if word.isalpha() and len(word) > 2))


def label_names(n_labels: int, n_words: int = 2, seed: int = 0) -> list[str]:
    """Different names of so many words each."""
    chance, words, names = random.Random(seed), vocabulary(), dict[str, None]()
    while len(names) < n_labels:
        names[" ".join(chance.sample(words, n_words))] = None
    return list(names)


def texts(n_rows: int, n_words: int = 12, seed: int = 1) -> Iterator[str]:
    """Texts of so many words, one at a time."""
    chance, words = random.Random(seed), vocabulary()
    return (" ".join(chance.choices(words, k=n_words)) for _ in range(n_rows))


def labelled(names: Sequence[str], n_rows: int, seed: int = 2) -> Iterator[tuple[str, str]]:
    """Texts of which each holds a word of its label's name, and the label; labels in turn."""
    chance = random.Random(seed)
    for number, text in enumerate(texts(n_rows, 8, seed)):
        name = names[number % len(names)]
        yield f"{text} {chance.choice(name.split())} {name.split()[0]}", name


def write_rows(path: Path, n_rows: int, n_words: int = 12) -> None:
    """JSON lines with a text each."""
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in texts(n_rows, n_words))


def small_bundle(baseline: str, names: Sequence[str], path: Path) -> None:
    """Write a bundle of a baseline that was fitted on a few made rows."""
    task = Task("growth", INSTRUCTIONS, tuple(map(Label, names)))
    classifier = baselines.make(baseline, task, 0, {})
    taught, gold = zip(*labelled(names, FITTED_ROWS * len(names)), strict=True)
    classifier.fit(list(taught), list(gold))
    with TemporaryDirectory() as folder:
        classifier.save(Path(folder) / "fitted")
        save(predictor_bundle(task, baseline, Path(folder) / "fitted", Calibration()), path)


def write_labelled(path: Path, names: Sequence[str], n_rows: int) -> None:
    """JSON lines with a text and its label each."""
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"text": text, "label": name}) + "\n" for text, name in labelled(names, n_rows))
