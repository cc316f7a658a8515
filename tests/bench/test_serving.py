"""The server's part of the bench, on a tiny model: both sides are measured and give the same probabilities."""

import io
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from bench import serving
from bench.serving import _url_of, serve_latency, serve_overhead
from labelwright.errors import ModelError


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


def test_a_servers_url_is_read_off_what_it_says():
    lines = ["toy: base, 3 labels\n", "http://127.0.0.1:43967  POST /v1/systemone\n"]
    assert _url_of(SimpleNamespace(stdout=iter(lines)), io.StringIO()) == "http://127.0.0.1:43967"
    with pytest.raises(ModelError, match=r"did not start: labelwright: error: nowhere"):
        _url_of(SimpleNamespace(stdout=iter(())), io.StringIO("labelwright: error: nowhere\n"))
