"""Messages of so many requests, and the table of who counts them."""

from __future__ import annotations

import numpy as np

from bench.structured import levels
from bench.structured.levels import LEVELS, joined, table
from labelwright.data.asked.questions import Question
from labelwright.data.task import Example, Label, Task

ROWS = [Example(str(i), f"request {i}", "a") for i in range(200)] + [Example("again", "request 3", "a")]


def test_no_request_stands_in_two_messages():
    messages = joined(ROWS, 60)
    words = [word for one in messages for word in one.text.split() if word != "request"]
    assert len(words) == len(set(words))
    assert [len(one.text.split()) // 2 for one in messages] == [int(one.label) for one in messages]
    assert {one.label for one in messages} == set(LEVELS)
    # As far as rows go.
    assert len(joined(ROWS[:10], 60)) < 10


def test_each_is_held_against_the_ordinal_one(monkeypatch):
    monkeypatch.setattr(levels, "ORDINAL", "near")
    task = Task.asking("levels", "How many?", [Question("n", "score", tuple(map(Label, LEVELS)))])
    gold = np.arange(80) % 4
    near, far = np.full((80, 4), 0.05), np.full((80, 4), 0.05)
    near[np.arange(80), np.minimum(gold + 1, 3)] = far[np.arange(80), 3 - gold] = 0.85
    lines = [line.split(" | ") for line in table(task, {"near": near, "far": far}, gold).splitlines()]
    assert [line[0] for line in lines[2:]] == ["| near", "| near, by distance", "| far", "| far, by distance"]
    assert lines[2][2].startswith("0.750 ")
    assert (lines[2][3], lines[4][2][:5], lines[4][3][:6]) == ("", "2.000", "+1.250")
