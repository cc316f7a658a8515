"""The server's part of the bench, on a tiny model: both sides are measured and give the same probabilities."""

from contextlib import contextmanager

import numpy as np

from bench import serving
from bench.load.client import Asked
from bench.serving import serve_latency, serve_overhead


def test_both_sides_are_measured_on_the_same_rows(setting, shows_both_sides, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_LOCAL_MODELS", setting.weights.base)
    measured = serve_overhead(setting, n_rows=8, rounds=2)
    shows_both_sides(measured, {"served", "in process"}, 2)
    assert measured.facts["max_probability_difference"] < 1e-4


def test_one_client_is_measured_row_by_row(setting, shows_both_sides, monkeypatch):
    asked = []

    @contextmanager
    def listening(bundle, dtype):
        def ask(texts, n_clients):
            asked.append((list(texts), n_clients))
            return Asked([], np.array([1.0, 3.0]), 1.0)

        yield ask

    monkeypatch.setattr(serving, "_server", listening)
    measured = serve_latency(setting, n_rows=2, rounds=1)
    shows_both_sides(measured, {"served", "in process"}, 1)
    assert measured.sides["served"].values == (2.0,)
    assert asked == [([example.text for example in setting.examples[:2]], 1)] * 2
