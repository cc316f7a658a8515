"""Products down the paths, and files that do not fit together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelwright.errors import BundleError
from labelwright.predictors.asked.tree import LocalTree
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import load_predictor, save_predictor

# billing (0.7) > late (0.4) | lost (0.6), other (0.3).
PARTS = [(Prior(np.array([0.7, 0.3])), ["billing", "other"]), (Prior(np.array([0.4, 0.6])), ["late", "lost"])]
STEPS = [[(0, 0), (1, 0)], [(0, 0), (1, 1)], [(0, 1)]]


def test_a_label_has_the_product_of_its_path(tmp_path):
    tree = LocalTree(PARTS, STEPS)
    assert tree.probabilities(["a", "b"])[1] == pytest.approx([0.28, 0.42, 0.3])
    save_predictor(tree, ["billing > late", "billing > lost", "other"], tmp_path)
    loaded, labels = load_predictor(tmp_path)
    assert labels[0] == "billing > late"
    assert loaded.probabilities(["a"])[0] == pytest.approx([0.28, 0.42, 0.3])


@pytest.mark.parametrize(
    "steps",
    [[[[2, 0]]], [[[0, 2]]], [[[0, -1]]], [[]], [[0, 1]], "x", [[[0, 1.0]]], [[[True, 0]]], [[[0, 0]], [[0, 1]]]],
)
def test_ways_that_lead_nowhere_are_refused(tmp_path, steps):
    save_predictor(LocalTree(PARTS, STEPS), ["a", "b", "c"], tmp_path)
    (tmp_path / "tree.json").write_text(json.dumps({"steps": steps}))
    with pytest.raises(BundleError, match="do not fit together"):
        load_predictor(tmp_path)


def test_ways_that_leave_no_label_any_probability_are_refused():
    nowhere = LocalTree([(Prior(np.array([1.0, 0.0])), ["billing", "other"])], [[(0, 1)], [(0, 1)]])
    with pytest.raises(BundleError, match="every label the probability 0"):
        nowhere.probabilities(["a"])
