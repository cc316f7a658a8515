"""Which single rows are shown: those that tell most come first, and nobody is asked twice about one."""

from __future__ import annotations

import numpy as np

from labelwright.data.task import Example
from workbench.compare.board import Suspect
from workbench.compare.candidate import Candidate
from workbench.compare.details import NO_ANSWER, NO_LABEL, doubted_rows, telling_rows

LABELS = ("pool", "fence")
TEST = [Example(str(i), f"text {i}", "pool") for i in range(5)]


def candidate(name: str, of_pool: list[float]) -> Candidate:
    p = np.array(of_pool)
    return Candidate(name, "baseline", probs=np.stack([p, 1 - p], axis=1))


FIRST = candidate("first", [0.9, 0.4, 0.6, 0.99, 0.1])
SECOND = candidate("second", [0.9, 0.45, 0.6, 0.55, 0.6])


def test_wrong_rows_come_first_and_then_the_least_sure_ones() -> None:
    found = telling_rows([FIRST, SECOND], LABELS, TEST, 9)
    # 4 and 1 are wrong for one of them; of the others 2 is the least sure.
    assert [row.id for row in found] == ["4", "1", "2", "3", "0"]
    assert found[0].answers == {"first": ("fence", 0.9), "second": ("pool", 0.6)}
    assert [row.id for row in telling_rows([FIRST, SECOND], LABELS, TEST, 2)] == ["4", "1"]
    assert telling_rows([FIRST], LABELS, TEST, 0) == []


def test_what_is_no_label_and_no_answer_has_a_name() -> None:
    free = Candidate("free", "free", probs=np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 0, 0]]))
    found = telling_rows([free], LABELS, TEST[:3], 9)
    assert {row.id: row.answers["free"][0] for row in found} == {"0": NO_LABEL, "1": "pool", "2": NO_ANSWER}


def test_doubted_labels_come_before_rows_without_an_answer_and_each_row_once() -> None:
    suspects = [
        Suspect("train", "t", "a text", "fence", "pool", 0.8, ("a", "b")),
        Suspect("test", "1", "text 1", "pool", "fence", 0.7, ("a", "b")),
    ]
    found = doubted_rows(suspects, FIRST, 0.7, LABELS, TEST, 9)
    assert [(row.side, row.id, row.suggested) for row in found] == [
        ("train", "t", "pool"), ("test", "1", "fence"), ("test", "2", "pool"),
    ]  # fmt: skip
    assert found[0].why == "a and b agree on another label"
    assert found[2].why == "first abstains: its confidence is below 0.70"
    assert [row.id for row in doubted_rows(suspects, FIRST, 0.7, LABELS, TEST, 1)] == ["t"]
    assert doubted_rows([], FIRST, None, LABELS, TEST, 9) == []


def test_a_row_without_an_answer_has_no_label_to_suggest() -> None:
    silent = Candidate("silent", "llm", probs=np.zeros((5, 2)))
    assert doubted_rows([], silent, 0.5, LABELS, TEST, 9) == []
