"""Stacks over made-up answers: one learns whom to believe, from rows that it is not asked about."""

from __future__ import annotations

import numpy as np
import pytest

from bench.decisions import stacking
from bench.decisions.stacking import answered, by_folds, main, table
from labelwright.data.task import Example
from labelwright.engines.together.plan import average

RNG = np.random.default_rng(0)
GOLD = RNG.integers(0, 4, 240)
FOLDS = np.arange(240) % 3


def member(ahead: float) -> np.ndarray:
    logits = RNG.normal(size=(240, 4))
    logits[np.arange(240), GOLD] += ahead
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_a_stack_learns_whom_to_believe():
    # One knows, one always says something else and is sure of it.
    knows, lies = member(3.0), np.roll(np.eye(4), 1, axis=1)[GOLD] * 0.96 + 0.01
    mean = average([knows, lies], [1, 1], "log")
    for strength in (0.0, 1e-2):
        stacked = by_folds([knows, lies], GOLD, FOLDS, strength)
        np.testing.assert_allclose(np.exp(stacked).sum(axis=1), 1)
        assert (stacked.argmax(axis=1) == GOLD).mean() > 0.9 > 0.6 > (mean.argmax(axis=1) == GOLD).mean()


def test_a_row_is_not_shown_to_the_stack_that_answers_it():
    noise = [RNG.dirichlet(np.ones(4), 240) for _ in range(10)]
    for strength in (0.0, 1e3):
        assert (by_folds(noise, GOLD, FOLDS, strength).argmax(axis=1) == GOLD).mean() < 0.4


def test_the_table_holds_stacks_against_the_mean_of_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stacking, "MEMBERS", ("a", "b"))
    monkeypatch.setattr(stacking, "STRENGTHS", (1e-2,))
    lines = table(
        {"a": member(2.0), "b": member(2.0), "c": member(2.0)}, GOLD, [str(i) for i in range(240)]
    ).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| a", "| b", "| c", "| equal weights, 2 members", "| equal weights, 3 members, with minilm-kernel",
        "| stack of a weight a member", "| stack of a weight a member and label, C = 0.01",
    ]  # fmt: skip
    assert "[" not in lines[5].split(" | ")[3]
    assert all("[" in line.split(" | ")[3] for line in lines[6:])


def test_members_answer_rows_that_they_were_not_shown():
    rows = [Example(str(i), f"{'pool water' if i % 2 else 'fence post'} {i}", "ab"[i % 2]) for i in range(40)]
    found, gold, groups = answered(rows, ["sgd-ngrams"])
    assert found["sgd-ngrams"].shape == (40, 2)
    assert (found["sgd-ngrams"].argmax(axis=1) == gold).mean() > 0.9
    assert len(groups) == 40


def test_data_at_fault_are_said_in_a_line(tmp_path, capsys: pytest.CaptureFixture[str]):
    assert main(["--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
