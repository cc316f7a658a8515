"""Where the threshold lies, and that a sketch stays small: no row out of scope is needed for either."""

from __future__ import annotations

import numpy as np
import pytest

from labelwright.data.task import Example
from labelwright.errors import MissingExtraError
from optimizers import scope as module
from optimizers.scope import KEPT, fit_scope, sketch, threshold


def test_rows_in_scope_are_kept_as_often_as_it_says():
    """1,000 draws of 43 calib rows and a new row: at most 5 % fall below, and not far fewer than the 2 of 44 do."""
    rng = np.random.default_rng(0)
    draws = rng.random((1000, 44))
    below = [row[-1] < threshold(row[:-1], 0.95) for row in draws]
    assert 0.03 <= np.mean(below) <= 0.05 + 0.01


def test_too_few_rows_turn_nobody_away():
    assert threshold(np.arange(18.0), 0.95) == -np.inf
    assert threshold(np.arange(19.0), 0.95) == 0.0


def test_a_sketch_is_small_and_has_every_label():
    rng = np.random.default_rng(0)
    labels = ["a"] * 300 + ["b"] * 5 + ["c"] * 95
    centres = {"a": 0, "b": 1, "c": 2}
    vectors = np.eye(8)[[centres[label] for label in labels]] + 0.05 * rng.normal(size=(400, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert sketch(vectors, labels, 400) is vectors
    small = sketch(vectors, labels, 30)
    assert small.shape == (25, 8)
    assert np.linalg.norm(small, axis=1) == pytest.approx(np.ones(25), abs=1e-5)
    assert np.bincount(small.argmax(axis=1)).tolist() == [10, 5, 10]


def test_without_an_encoder_certainty_alone_is_asked(monkeypatch):
    def missing(name: str) -> None:
        raise MissingExtraError("no encoder")

    monkeypatch.setattr(module, "open_encoder", missing)
    rows = [Example(str(n), f"row {n}", "ab"[n % 2]) for n in range(39)]
    sure = np.linspace(0.5, 1.0, 39)
    found = fit_scope(rows, rows, np.stack([sure, 1 - sure], axis=1))
    assert (found.encoder, found.kept, found.n_rows, found.vectors.size) == ("", KEPT, 39, 0)
    # Of 39 rows the second least sure is the threshold, and the least sure one lies below it.
    assert found.outside([""] * 3, np.stack([sure, 1 - sure], axis=1)[:3]).tolist() == [True, False, False]
