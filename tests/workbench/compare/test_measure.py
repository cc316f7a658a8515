"""What a comparison measures of rows out of scope, over the fake engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.data.task import Example, group_keys
from labelwright.errors import MissingExtraError
from labelwright.statistics.proportions import share_interval
from optimizers import scope
from optimizers.calibrate import CalibrateStage
from optimizers.scope import Outside
from workbench.compare.measure import Trained, on_rows_out_of_scope, passing_on, with_scope

NOBODY = Outside()


def missing(name: str) -> None:
    raise MissingExtraError("no encoder")


def test_rows_out_of_scope_are_measured_at_the_threshold_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "open_encoder", missing)
    splits = toy_splits()
    rows = [*splits.train, *splits.dev, *splits.calib]
    before = Trained(toy_bundle(), FakeEngine(), 0.0, None)
    of_calib = before.probabilities([row.text for row in splits.calib])
    bundle = with_scope(before.bundle, splits, CalibrateStage(), 0, of_calib, NOBODY)
    assert bundle.scope is not None
    assert bundle.scope.n_rows == len(splits.calib)
    bundle = replace(bundle, scope=replace(bundle.scope, threshold=0.1))
    trained = Trained(bundle, FakeEngine(), 0.0, None)
    assert bundle.scope is not None
    out = ["nothing of it", "what is love", "the pool pump"]
    probs = trained.probabilities([row.text for row in rows])
    beside = [Example(str(i), text, "none", group=("x", "x", "y")[i]) for i, text in enumerate(out)]
    found = on_rows_out_of_scope(trained, beside, rows, probs)
    kept = ~bundle.scope.outside([row.text for row in rows], probs)
    gold = np.array([bundle.task.index(row.label) for row in rows])
    right = share_interval(kept & (probs.argmax(axis=1) == gold), group_keys(rows))
    assert (found["n_rows"], found["kept"]) == (3, kept.mean())
    assert (found["right"], found["right_low"], found["right_high"]) == right
    of_out = bundle.scope.outside(out, trained.probabilities(out))
    # Two of them are paraphrases of one another, and count as one for how sure that is.
    assert (found["recall"], found["recall_low"], found["recall_high"]) == share_interval(of_out, ["x", "x", "y"])
    assert share_interval(of_out) != share_interval(of_out, ["x", "x", "y"])
    sure = bundle.scope.scores(out, trained.probabilities(out)), bundle.scope.scores([], probs)
    ahead = (sure[1][:, None] > sure[0]) + 0.5 * (sure[1][:, None] == sure[0])
    assert found["auroc_score"] == found["auroc_certainty"] == pytest.approx(ahead.mean())
    assert 0 < found["right"] <= found["kept"] < 1
    assert on_rows_out_of_scope(trained, [], rows, probs) == {}
    assert on_rows_out_of_scope(before, beside, rows, probs) == {}


def test_a_promise_counts_the_rows_that_the_scope_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the scope's threshold looks at none of the rows that the promise is tested on."""
    monkeypatch.setattr(scope, "open_encoder", missing)
    monkeypatch.setattr(scope, "KEPT", 0.5)
    splits = toy_splits()
    stage = CalibrateStage(max_error=1.0, promise_share=0.5)
    bundle = toy_bundle()
    scores = 2 * np.random.default_rng(0).standard_normal((len(splits.calib), len(bundle.task.names)))
    made = stage.calibrated(bundle, splits.calib, lambda _: scores, 0)
    fitted, apart = stage.sides(splits.calib, 0)
    assert made.bundle.promise.all is not None
    bundle = with_scope(made.bundle, splits, stage, 0, made.probs, NOBODY)
    assert bundle.scope is not None
    assert bundle.scope.n_rows == len(fitted)
    outside = bundle.scope.outside([row.text for row in splits.calib], made.probs)
    for counts, rows in (("first", fitted), ("tested", apart)):
        assert getattr(made.bundle.promise.all, counts)[-1][0] == len(rows)
        assert getattr(bundle.promise.all, counts)[-1][0] == (~outside[rows]).sum()
    assert 0 < outside[fitted].sum() < len(fitted)
    # Rows that are passed on are left out as well, with a scope or without.
    sure = made.probs.max(axis=1)
    threshold = float(np.sort(sure[apart])[1])
    for one, inside in ((made.bundle, np.full(len(sure), True)), (bundle, ~outside)):
        passes = passing_on(one, threshold, splits, stage, 0, made.probs)
        assert passes.promise.all is not None
        assert (passes.pass_on, passes.scope) == (threshold, one.scope)
        for counts, rows in (("first", fitted), ("tested", apart)):
            assert getattr(passes.promise.all, counts)[-1][0] == (inside & (sure >= threshold))[rows].sum()
    assert 0 < (sure[apart] < threshold).sum() < len(apart)
