"""Labels under the first word that they have, and the table of flat and local."""

from __future__ import annotations

import numpy as np

from bench.structured.paths import path, table
from labelwright.data.task import Label, Task


def test_words_are_whole():
    assert path("topping_up_by_card") == "card > topping up by card"
    assert path("pin_blocked") == "pin > pin blocked"
    assert path("Refund_not_showing_up") == "refund > refund not showing up"


def test_local_is_held_against_flat():
    names = ("a > x", "a > y", "b > z")
    task, gold = Task("t", "What?", tuple(map(Label, names)), tree_separator=" > "), np.arange(60) % 3
    flat = np.full((60, 3), 0.1)
    flat[np.arange(60), np.where(gold == 0, 1, gold)] = 0.8
    answers = {"minilm-logreg": flat, "local-minilm": np.eye(3)[gold] * 0.7 + 0.1}
    lines = [line.split(" | ") for line in table(task, answers, gold, [str(i) for i in range(60)]).splitlines()[2:]]
    assert [line[0] for line in lines] == [
        "| minilm-logreg",
        "| minilm-logreg level by level, than as it answers",
        "| local-minilm, than minilm-logreg",
        "| local-minilm level by level, than as it answers",
    ]
    # A third of the rows is right at depth 1 and not at depth 2.
    assert (lines[0][1][:4], lines[0][2], lines[0][3][:5]) == ("66.7", "", "100.0")
    assert lines[2][2].startswith("+33.3")
