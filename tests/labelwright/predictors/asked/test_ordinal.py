"""What lies between boundaries, and files that do not fit together."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.errors import BundleError
from labelwright.predictors.asked.ordinal import Ordinal, between
from labelwright.predictors.store import load_predictor, save_predictor


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=6))
def test_boundaries_that_cross_leave_no_level_less_than_nothing(bias: list[float]):
    probs = between(np.zeros((1, 2), dtype=np.float32), np.zeros((len(bias), 2)), np.array(bias))
    assert (probs > 0).all()
    assert probs.sum() == pytest.approx(1.0)
    above = 1 / (1 + np.exp(-np.array(bias)))
    assert probs[0, -1] == pytest.approx(above.min(), abs=1e-4)
    assert probs[0, 0] == pytest.approx(1 - above[0], abs=1e-4)


def test_between_by_hand():
    # Above the first with 0.8, above the second with 0.3.
    probs = between(np.ones((1, 1), dtype=np.float32), np.log([[4.0], [3 / 7]]), np.zeros(2))
    assert probs[0] == pytest.approx([0.2, 0.5, 0.3], abs=1e-4)


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    save_predictor(Ordinal("minilm", np.zeros((2, 3)), np.zeros(2), [2, 0, 1]), ["a", "b", "c"], tmp_path)
    assert load_predictor(tmp_path)[0].order == [2, 0, 1]
    for order in ([0, 1], [0, 1, 1], "012", [0, 1, 5]):
        (tmp_path / "encoder.json").write_text(json.dumps({"encoder": "minilm", "order": order}))
        with pytest.raises(BundleError, match="do not fit together"):
            load_predictor(tmp_path)
