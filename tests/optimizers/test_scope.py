"""Where the threshold lies, and that a sketch stays small: no row out of scope is needed for either."""

from __future__ import annotations

import numpy as np
import pytest
from word_encoder import WordEncoder

from labelwright.data.task import Example
from labelwright.decisions import scope as asked
from labelwright.errors import MissingExtraError
from optimizers import scope as module
from optimizers.scope import KEPT, Outside, fit_scope, sketch, threshold


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


def rows_of(topic: str, n: int, first: int = 0) -> list[Example]:
    """Rows of a topic, each with a few words of its own."""
    return [Example(f"{topic} {i}", f"{topic} {topic} word{i} thing{i % 7}", topic) for i in range(first, first + n)]


@pytest.fixture
def words(monkeypatch):
    encoder = WordEncoder()
    for where in (module, asked):
        monkeypatch.setattr(where, "open_encoder", lambda name: encoder)
    return encoder


def test_rows_out_of_scope_teach_a_none_of_these_where_calib_prefers_it(words):
    train, calib = rows_of("pool", 30) + rows_of("fence", 30), rows_of("pool", 25, 100)
    sure = np.tile([0.9, 0.1], (len(calib), 1))
    # Most of its words are of a topic in scope, so that it is near, and the classifier is as sure of it as of others.
    near = [Example(f"o{i}", f"pool pool music word{i} thing{i % 7}", "none") for i in range(40)]
    outside = Outside(near[:20], near[20:], sure[:20])
    without = fit_scope(train, calib, sure)
    assert (without.none.size, without.preference) == (0, None)
    found = fit_scope(train, calib, sure, outside=outside)
    assert found.preference is not None
    assert (found.preference.n_taught, found.preference.n_calib) == (20, 20)
    assert found.preference.trained > max(found.preference.score, 0.95)
    texts = [row.text for row in near[20:]]
    assert found.outside(texts, sure[:20]).mean() > without.outside(texts, sure[:20]).mean()
    # The threshold is taken of the score that is used: as many rows in scope lie below it as before.
    of_calib = [row.text for row in calib]
    assert found.outside(of_calib, sure).sum() <= 1
    assert found.scores(of_calib, sure) == pytest.approx(
        without.scores(of_calib, sure) * asked.in_scope(words.embed(of_calib), found.none)
    )


def test_where_it_does_not_help_on_calib_it_is_not_used_and_the_report_can_say_so(words):
    train, calib = rows_of("pool", 30) + rows_of("fence", 30), rows_of("pool", 25, 100)
    sure = np.tile([0.9, 0.1], (len(calib), 1))
    # What is taught looks like rows in scope, what comes later like nothing.
    outside = Outside(rows_of("pool", 12), rows_of("music", 12), sure[:12])
    found = fit_scope(train, calib, sure, outside=outside)
    assert found.preference is not None
    assert found.preference.score == 1.0 >= found.preference.trained
    assert found.none.size == 0
    assert found.threshold == fit_scope(train, calib, sure).threshold
