"""Candidates over levels in order, one of which is off by more than the others, and their leaderboard."""

from __future__ import annotations

import numpy as np

from labelwright.data.asked.questions import Question
from labelwright.data.task import Example, Label, Task
from workbench.compare.asked.structured import with_structured
from workbench.compare.board import Leaderboard
from workbench.compare.candidate import Candidate, Kind
from workbench.compare.leaderboard import build

NAMES = ("1", "2", "3", "4")
TASK = Task.asking("t", "How good?", [Question("stars", "score", tuple(map(Label, NAMES)))])
PLAIN = Task("t", "What?", tuple(map(Label, NAMES)))
GOLD = np.random.default_rng(0).integers(4, size=120)
ROWS = [Example(str(i), f"row {i}", NAMES[k], group=f"g{i // 2}") for i, k in enumerate(GOLD)]


def candidate(name: str, wrong: int, seed: int, kind: Kind = "baseline") -> Candidate:
    """Right on three of four rows; the others are so many levels off."""
    off = np.where(np.random.default_rng(seed).random(120) < 0.25, wrong, 0)
    said = np.where(GOLD + off < 4, GOLD + off, GOLD - off)
    probs = np.full((120, 4), 0.1)
    probs[np.arange(120), said] = 0.7
    if kind == "free":
        probs = np.hstack([np.eye(4)[said], np.zeros((120, 1))])
    return Candidate(name, kind, probs=probs, raw=None if kind == "free" else probs)


CANDIDATES = [candidate("near", 1, 1), candidate("far", 2, 2), candidate("free", 1, 3, "free")]
CANDIDATES += [Candidate("gone", "baseline", failed="no memory")]


def board_of(task: Task) -> Leaderboard:
    """The leaderboard, the rows being those of this task."""
    return with_structured(build(CANDIDATES, ROWS, NAMES, 300, 0), CANDIDATES, ROWS, task, 300, 0)
