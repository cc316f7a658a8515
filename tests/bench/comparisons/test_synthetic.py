"""Both tables say what was counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bench.comparisons.synthetic import NAMES, Drawn, accuracy_table, difference, made_table
from workbench.compare.candidate import CurvePoint, Written
from workbench.compare.kept.learnt import Augmented
from workbench.recipe.stages import SYNTHETIC
from workbench.synthetic.diversity import MEASURES
from workbench.synthetic.telling import DROPPED


def one_draw() -> Drawn:
    curve = (CurvePoint(1, 9, 0, 0.5), CurvePoint(0, 20, 0, 0.75))
    augmented = Augmented(Written(8, 8, ("big",), {}, (0.25,)))
    entry = SimpleNamespace(name=f"{SYNTHETIC}x", augmented=augmented, curve=curve)
    report = SimpleNamespace(
        scored=[entry], splits=SimpleNamespace(train=4, dev=2, calib=2), test_rows=SimpleNamespace(n_rows=4)
    )
    summary = {
        "written": 10, "rows": 8, "dropped": dict.fromkeys(DROPPED, 0) | {"disagreed": 2},
        "lists": {"n_answered": 3, "n_repaired": 1, "n_unread": 0},
        "labels": {"n_answered": 10, "n_repaired": 0, "n_unread": 0}, "tokens": {"read": 1000, "written": 50},
        "diversity": {"written": dict.fromkeys(MEASURES, 0.25), "real": dict.fromkeys(MEASURES, 0.5)},
    }  # fmt: skip
    right = {
        "x": np.array([True, False, False, False]), f"{SYNTHETIC}x": np.array([True, True, True, False]),
        f"{NAMES}x": np.array([True, True, False, False]),
    }  # fmt: skip
    return Drawn(report, summary, right, ["a", "b", "c", "d"])  # type: ignore[arg-type]


def test_the_tables_say_what_was_counted():
    made = made_table([one_draw()])
    assert "| dropped: with another label in the second answer | 2 (20 %) |" in made
    assert "| lists of rows, mended | 1 |" in made
    assert "| rows that nearly repeat another: written / real | 0.25 / 0.5 |" in made
    table = accuracy_table([one_draw(), one_draw()], ["x"])
    assert "| x | 0 | 25.0 | 50.0 | 75.0 | 50.0 [" in table
    assert difference([one_draw()] * 2, f"{NAMES}x", "x").value == 0.25
