"""The server's part of the bench, on a tiny model: both sides are measured and give the same probabilities."""

from contextlib import contextmanager

from bench import serving
from bench.serving import serve_latency, serve_overhead


def test_both_sides_are_measured_on_the_same_rows(setting, shows_both_sides, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_LOCAL_MODELS", setting.weights.base)
    measured = serve_overhead(setting, n_rows=8, rounds=2)
    shows_both_sides(measured, {"served", "in process"}, 2)
    assert measured.facts["max_probability_difference"] < 1e-4


def test_one_client_is_measured_row_by_row(setting, shows_both_sides, monkeypatch):
    asked = []

    @contextmanager
    def listening(bundle):
        yield asked.append

    monkeypatch.setattr(serving, "_server", listening)
    shows_both_sides(serve_latency(setting, n_rows=2, rounds=1), {"served", "in process"}, 1)
    assert asked == [example.text for example in setting.examples[:2]] * 2
