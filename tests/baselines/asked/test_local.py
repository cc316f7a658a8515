"""A classifier at each node: what it learns from, what it says, and what ships."""

from __future__ import annotations

import numpy as np
import pytest

import baselines
from baselines.asked.local import LocalClassifiers
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import Label, Task
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, RecipeError
from labelwright.statistics.calibration import Calibration

WORDS = {"out > water > pool": "chlorine", "out > water > pond": "carp", "out > fence": "picket", "in": "stove"}
TASK = Task("t", "Where?", tuple(map(Label, WORDS)), tree_separator=" > ")
TEXTS = [f"{word} and {more}" for more in ("one", "two", "three", "four") for word in WORDS.values()]
LABELS = [label for _ in range(4) for label in WORDS]


@pytest.fixture(scope="module")
def fitted():
    return baselines.make("local-ngrams", TASK, 0).fit(TEXTS, LABELS, groups=[text.split()[-1] for text in TEXTS])


def test_every_node_with_several_children_has_a_classifier(fitted):
    assert isinstance(fitted, LocalClassifiers)
    assert [children for _, children in fitted.predictor_.parts] == [
        ["in", "out"],
        ["fence", "water"],
        ["pond", "pool"],
    ]
    assert (fitted.predict(TEXTS) == np.array(LABELS)).all()


def test_a_node_does_not_see_rows_of_other_branches(fitted):
    # Words of other branches mean nothing to it.
    below, _ = fitted.predictor_.parts[2]
    assert below.probabilities(["stove"])[0] == pytest.approx(below.probabilities(["zzz"])[0])
    root, _ = fitted.predictor_.parts[0]
    assert root.probabilities(["stove"])[0, 0] > 0.5


def test_what_was_trained_is_what_ships(fitted, tmp_path):
    fitted.save(tmp_path / "predictor")
    bundle = save(predictor_bundle(TASK, "local-ngrams", tmp_path / "predictor", Calibration()), tmp_path / "bundle")
    assert bundle.task.tree == TASK.tree
    order = [list(TASK.names).index(name) for name in fitted.classes_]
    found = probabilities(bundle, open_engine(bundle.weights, EngineSettings()), TEXTS)
    assert found[:, order] == pytest.approx(fitted.predict_proba(TEXTS))


def test_a_list_of_labels_and_a_family_that_there_is_not_are_refused():
    with pytest.raises(DataError, match=r"local-ngrams needs labels that are paths \(\[task\] tree\)"):
        baselines.make("local-ngrams", Task("t", "What?", tuple(map(Label, "ab"))), 0)
    with pytest.raises(RecipeError, match="expected one of 'sgd-ngrams'"):
        baselines.make("local-ngrams", TASK, 0, {"family": "encoder-ce"})
    with pytest.raises(RecipeError, match="has no setting 'separator'"):
        baselines.make("local-ngrams", TASK, 0, {"separator": "/"})
