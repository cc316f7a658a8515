"""Times are of one query asked alone, and what is timed is what is measured."""

from __future__ import annotations

import time

import numpy as np
import pytest

from workbench.retrieval import latency
from workbench.retrieval.asking import Said
from workbench.retrieval.latency import N_TIMED, median_ms, search_ms
from workbench.retrieval.report.result import BOOST, FILTER, PLAIN


def test_the_median_leaves_out_what_warms_up_and_what_is_disturbed():
    asked = []

    def ask(place: int) -> None:
        asked.append(place)
        time.sleep(0.2 if len(asked) in (1, 3) else 0.002)

    assert 2 <= median_ms(["x"] * 5, ask) < 100
    assert asked == [0, 0, 1, 2, 3, 4]
    asked.clear()
    median_ms(["x"] * 1000, lambda place: asked.append(place))
    assert len(asked) == N_TIMED + 1


def test_each_use_of_the_label_ranks_as_it_is_measured(monkeypatch):
    ranked = {}

    def keep(texts, ask):
        ranked[len(ranked)] = ask(0).tolist()
        return 1.0

    monkeypatch.setattr(latency, "median_ms", keep)

    class Search:
        name = "it"

        def scores(self, text: str) -> np.ndarray:
            return np.array([3.0, 2.0, 1.0])

    said = Said(np.array([[0.0, 1.0]]), np.array([1]))
    times = search_ms(Search(), ["x"], said, 1.0, np.array([0, 1, 0]), 2)
    assert times == {PLAIN: 1.0, FILTER: 1.0, BOOST: 1.0}
    assert ranked[0] == [0, 1]
    assert ranked[1][0] == ranked[2][0] == 1
    assert search_ms(Search(), ["x"], said, 0.0, np.array([0, 1, 0]), 9) == pytest.approx(times)
