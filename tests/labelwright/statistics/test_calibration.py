"""The calibration fit: what it recovers, what it survives, and what it must never do."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.statistics.calibration import (
    Calibration,
    abstain_threshold,
    cross_validated_paths,
    fit_calibration,
    fit_calibrations,
    group_folds,
)
from labelwright.statistics.metrics import log_loss


def draw(seed: int, n_rows: int, n_labels: int, temperature: float = 1.0, spread: float = 0.0) -> tuple[Any, Any, Any]:
    """Scores, gold drawn from softmax(scores / temperature + bias), and that bias."""
    rng = np.random.default_rng(seed)
    bias = spread * rng.normal(size=n_labels)
    scores = 3 * rng.normal(size=(n_rows, n_labels)) - 5
    gold = (scores / temperature + bias + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return scores, gold, bias - bias.mean()


def exact_log_loss(calibration: Calibration, scores: np.ndarray, gold: np.ndarray) -> float:
    """Without the floor that the metric has, which can hide how bad raw scores are."""
    logits = scores / calibration.temperature + np.asarray(calibration.bias or 0.0)
    logits = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(gold)), gold]).mean())


def test_recovers_what_the_labels_were_drawn_from() -> None:
    scores, gold, bias = draw(0, 20_000, 4, temperature=2.5, spread=1.0)
    fitted = fit_calibration(scores, gold)
    assert fitted.temperature == pytest.approx(2.5, rel=0.05)
    assert np.asarray(fitted.bias) == pytest.approx(bias, abs=0.1)


def test_fits_only_what_it_is_asked_to() -> None:
    scores, gold, _ = draw(1, 500, 3, temperature=2, spread=1)
    assert fit_calibration(scores, gold, bias=False).bias == ()
    assert fit_calibration(scores, gold, temperature=False).temperature == 1.0
    assert len(fit_calibration(scores, gold, temperature=False).bias) == 3


def test_minimum_is_a_minimum() -> None:
    scores, gold, _ = draw(2, 200, 3, temperature=0.5, spread=1)
    fitted = fit_calibration(scores, gold, l2=2.0)

    def objective(scale: float, bias: np.ndarray) -> float:
        probs = Calibration(1 / scale, tuple(bias)).apply(scores)
        return 200 * log_loss(probs, gold) + (bias @ bias + (scale - 1) ** 2)

    scale, bias = 1 / fitted.temperature, np.asarray(fitted.bias)
    rng = np.random.default_rng(0)
    for step in 1e-3 * rng.normal(size=(30, 4)):
        assert objective(scale, bias) <= objective(scale + step[0], bias + step[1:])


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 6), st.sampled_from([1e-3, 1.0, 50.0]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_sums_to_one_and_is_never_worse_in_sample(
    seed: int, n_rows: int, n_labels: int, scale: float, temperature: bool
) -> None:
    rng = np.random.default_rng(seed)
    scores = scale * rng.normal(size=(n_rows, n_labels))
    gold = rng.integers(n_labels, size=n_rows)
    for l2 in (1e-2, 1.0, 100.0):
        fitted = fit_calibration(scores, gold, temperature=temperature, l2=l2)
        probs = fitted.apply(scores)
        assert (probs >= 0).all()
        assert probs.sum(axis=1) == pytest.approx(np.ones(n_rows))
        assert exact_log_loss(fitted, scores, gold) <= exact_log_loss(Calibration(), scores, gold) + 1e-9


def test_separable_rows_stay_finite() -> None:
    gold = np.arange(30) % 3
    fitted = fit_calibration(np.eye(3)[gold], gold, l2=0.01)
    assert 0 < fitted.temperature < 1
    assert np.isfinite(fitted.bias).all()


def test_scores_that_mislead_keep_the_temperature_positive() -> None:
    gold = np.arange(30) % 2
    fitted = fit_calibration(-20.0 * np.eye(2)[gold], gold, l2=0.01)
    assert fitted.temperature == pytest.approx(100)


def test_label_without_rows_becomes_rarer_but_not_impossible() -> None:
    scores, gold, _ = draw(3, 200, 4)
    rows = gold != 2
    probs = fit_calibration(scores[rows], gold[rows]).apply(scores)
    assert 0 < probs[:, 2].mean() < 0.5 * Calibration().apply(scores)[:, 2].mean()


def test_unexpanded_options_may_be_minus_infinity() -> None:
    scores, gold, _ = draw(4, 100, 3)
    scores[np.arange(50), (gold[:50] + 1) % 3] = -np.inf
    fitted = fit_calibration(scores, gold)
    assert np.isfinite([fitted.temperature, *fitted.bias]).all()
    assert np.isfinite(fitted.apply(scores)).all()


def test_what_is_impossible_stays_so_and_teaches_nothing() -> None:
    """A row whose gold has the score -inf cannot be helped; it must not spoil the fit of the others."""
    scores, gold, _ = draw(8, 200, 4, temperature=2.0)
    fitted = fit_calibration(scores, gold)
    broken, at = np.vstack([scores, scores[:5]]), np.append(gold, gold[:5])
    broken[np.arange(200, 205), gold[:5]] = -np.inf
    assert fit_calibration(broken, at) == fitted
    assert (cross_validated(broken, at)[np.arange(200, 205), gold[:5]] == 0).all()
    everywhere = np.where(np.eye(4)[gold] == 1, -np.inf, scores)
    assert fit_calibration(everywhere, gold).temperature == 1.0


def test_options_that_rows_do_not_have_weigh_nothing() -> None:
    """Letters beyond a row's own choices: the fit is that of the rows without those columns."""
    scores, gold, _ = draw(9, 300, 3, temperature=5.0)
    wide = np.hstack([scores, np.full((300, 2), -np.inf)])
    assert fit_calibration(wide, gold, bias=False) == fit_calibration(scores, gold, bias=False)


@pytest.mark.parametrize(("temperature", "bias"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_a_path_of_penalties_ends_where_single_fits_do(temperature: bool, bias: bool, scale: float) -> None:
    scores, gold, _ = draw(10, 150, 5, temperature=2.0, spread=1.0)
    penalties = (0.3, 30.0, 3.0)
    which = {"temperature": temperature, "bias": bias}
    for l2, fitted in zip(penalties, fit_calibrations(scale * scores, gold, penalties, **which), strict=True):
        alone = fit_calibration(scale * scores, gold, l2=l2, **which)
        assert fitted.temperature == pytest.approx(alone.temperature, rel=1e-3)
        assert fitted.bias == pytest.approx(alone.bias, abs=1e-3)


def test_all_candidates_of_a_large_calib_split_are_quick() -> None:
    scores, gold, _ = draw(11, 1000, 77, temperature=0.1)
    start = time.process_time()
    for temperature, bias in ((True, False), (False, True), (True, True)):
        cross_validated_paths(20 * scores, gold, None, (0.3, 1.0, 3.0, 10.0, 30.0), temperature=temperature, bias=bias)
    assert time.process_time() - start < 5


def test_many_rows_and_labels_are_quick() -> None:
    scores, gold, _ = draw(5, 10_000, 100, temperature=1.5, spread=0.5)
    start = time.process_time()
    fit_calibration(scores, gold)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("scores", "gold", "message"),
    [
        (np.zeros(3), np.zeros(3, dtype=int), r"shape \(3,\)"),
        (np.zeros((0, 3)), np.zeros(0, dtype=int), "at least one row"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 1]), "row 1 hold NaN"),
        (np.full((1, 2), -np.inf), np.array([0]), "row 0"),
        (np.zeros((1, 2)), np.array([5]), "from 0 to 1"),
    ],
)
def test_scores_that_cannot_be_fitted_are_refused(scores: Any, gold: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_calibration(scores, gold)


def test_settings_out_of_range_are_refused() -> None:
    scores, gold, _ = draw(6, 10, 2)
    with pytest.raises(RecipeError, match="l2 is 0"):
        fit_calibration(scores, gold, l2=0)
    with pytest.raises(RecipeError, match="neither"):
        fit_calibration(scores, gold, temperature=False, bias=False)


def cross_validated(scores, gold, groups=None, l2=1.0):
    return cross_validated_paths(scores, gold, groups, (l2,))[0]


def test_cross_validation_leaves_a_row_out_of_its_own_fit() -> None:
    """Pure noise: in-sample the fit must look better than it is, by cross-validation it must not."""
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(40, 6)), rng.integers(6, size=40)
    inside = log_loss(fit_calibration(scores, gold, l2=0.01).apply(scores), gold)
    assert log_loss(cross_validated(scores, gold, l2=0.01), gold) > inside + 0.01
    assert cross_validated(scores, gold).sum(axis=1) == pytest.approx(np.ones(40))


def test_copies_in_a_group_do_not_leak_across_folds() -> None:
    rng = np.random.default_rng(1)
    scores, gold = np.repeat(rng.normal(size=(20, 6)), 4, axis=0), np.repeat(rng.integers(6, size=20), 4)
    groups = np.repeat(np.arange(20), 4).astype(str)
    whole, split = (cross_validated(scores, gold, one, l2=0.01) for one in (groups, None))
    assert log_loss(whole, gold) > log_loss(split, gold)


@given(st.integers(0, 1000), st.integers(2, 60), st.integers(2, 8))
def test_folds_keep_groups_whole(seed: int, n_rows: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 20, size=n_rows).astype(str)
    groups[:2] = ["x", "y"]
    folds = group_folds(rng.integers(3, size=n_rows), groups, n_folds, seed)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    assert set(folds) == set(range(min(n_folds, len(set(groups)))))


def test_folds_spread_labels() -> None:
    gold = np.repeat(np.arange(4), 10)
    folds = group_folds(gold, None, 5, seed=0)
    assert all((gold[folds == fold] == label).sum() == 2 for fold in range(5) for label in range(4))


def test_one_group_cannot_be_cross_validated() -> None:
    with pytest.raises(DataError, match="form 1 group"):
        group_folds(np.array([0, 1]), ["a", "a"], 5, seed=0)


def test_abstain_threshold_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    gold = np.array([0, 0, 1, 0])
    assert abstain_threshold(probs, gold, 0.7) == 0.0
    assert abstain_threshold(probs, gold, 0.9) == 0.8
    assert abstain_threshold(probs, 1 - gold, 0.9) is None
    with pytest.raises(RecipeError, match=r"target accuracy is 95"):
        abstain_threshold(probs, gold, 95)


def test_json_round_trip() -> None:
    for calibration in (Calibration(), Calibration(1 / 3, (0.1, -0.2))):
        assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 1.0}, "has the keys"),
        ({"temperature": 0.0, "bias": []}, "above 0"),
        ({"temperature": True, "bias": []}, "above 0"),
        ({"temperature": 1.0, "bias": [1.0, "x"]}, "list of numbers"),
        ({"temperature": 1.0, "bias": [float("nan")]}, "list of numbers"),
    ],
)
def test_altered_files_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Calibration.from_dict(values)


def test_rows_without_an_answer_say_nothing_and_stay_without():
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    silent = np.vstack([scores, np.full((20, 3), -np.inf)])
    with_them, without = fit_calibration(silent, np.append(gold, [0] * 20)), fit_calibration(scores, gold)
    assert with_them.temperature == pytest.approx(without.temperature)
    assert with_them.bias == pytest.approx(without.bias)
    assert (without.apply(silent)[60:] == 0).all()
    with pytest.raises(DataError, match="none of 20 rows"):
        fit_calibration(silent[60:], np.zeros(20, dtype=int))
    for wrong in (np.nan, np.inf):
        with pytest.raises(DataError, match=r"row 1 hold NaN or \+inf"):
            fit_calibration(np.array([[0.0, 1.0], [0.0, wrong]]), np.array([0, 1]))


@pytest.mark.parametrize("temperature", [1e-300, 1e-3, 1e300, np.inf])
def test_no_temperature_gives_what_is_no_number(temperature):
    scores = np.array([[-800.0, -900.0, -np.inf], [-1.0, -1.0, -2.0]])
    with np.errstate(over="ignore"):
        probs = Calibration(temperature, (0.0, 1.0, 2.0)).apply(scores)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert probs[0, 2] == 0
