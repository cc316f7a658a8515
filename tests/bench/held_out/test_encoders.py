"""Candidates are asked about rows that they were not shown, and held against the last one, paired."""

from __future__ import annotations

import numpy as np
from fakes import toy_examples

from bench.held_out import encoders
from labelwright.data.task import Label, Task


def test_a_table_is_of_rows_out_of_fold(monkeypatch):
    rows, asked, real = toy_examples(6), [], encoders.out_of_fold
    found = {}

    def out_of_fold(job, splits, n_folds):
        asked.append((job.name, splits.train, n_folds))
        found[job.name] = real(job, splits, n_folds)
        return found[job.name]

    monkeypatch.setattr(encoders, "out_of_fold", out_of_fold)
    monkeypatch.setattr(encoders, "TIMED_ROWS", 3)
    lines = encoders.table(rows, ["majority", "sgd-chars"]).splitlines()
    assert asked == [(name, tuple(rows), encoders.N_FOLDS) for name in ("majority", "sgd-chars")]
    task = Task("toy", "Which?", tuple(map(Label, sorted({row.label for row in rows}))))
    gold = np.array([task.index(row.label) for row in rows])
    right = {}
    for line, name in zip(lines[2:4], ("majority", "sgd-chars"), strict=True):
        right[name] = 100 * (found[name].argmax(axis=1) == gold).mean()
        assert line.startswith(f"| {name} | {right[name]:.1f} [")
        assert line.endswith(" MB |")
    assert f"| {right['majority'] - right['sgd-chars']:+.1f} [" in lines[2]
    assert "| – |" in lines[3]


def test_data_that_is_not_there_is_said_in_a_line(tmp_path, capsys):
    assert encoders.main(["--data", str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
