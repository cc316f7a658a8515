"""A candidate that knows the order of levels: in what it learns, says and is refused."""

from __future__ import annotations

import numpy as np
import pytest

import baselines
from baselines.asked.ordinal import OrdinalClassifier
from labelwright.data.asked.questions import Question, put
from labelwright.data.task import Label, Task
from labelwright.errors import DataError, RecipeError

# Neither the order of the alphabet nor that of the rows.
LEVELS = ("poor", "fair", "good", "best")
TASK = Task.asking("t", "How good is it?", [Question("stars", "score", tuple(map(Label, LEVELS)))])
WORDS = {"poor": "fence", "fair": "fence pool", "good": "pool", "best": "pool hvac"}


def rows():
    texts = [f"{WORDS[level]} {extra}" for extra in ("post", "gate", "filter", "swim") for level in reversed(LEVELS)]
    return texts, [*reversed(LEVELS)] * 4


def test_columns_are_sorted_and_levels_are_in_order(encoder):
    texts, labels = rows()
    estimator = baselines.make("minilm-ordinal", TASK, 0, {"encoder": encoder, "strengths": [100.0]}).fit(texts, labels)
    assert isinstance(estimator, OrdinalClassifier)
    assert estimator.classes_.tolist() == sorted(LEVELS)
    assert estimator.predictor_.order == [sorted(LEVELS).index(level) for level in LEVELS]
    assert (estimator.predict(texts) == np.array(labels)).mean() > 0.9
    probs = estimator.predict_proba(texts)[:, [sorted(LEVELS).index(level) for level in LEVELS]]
    assert probs.sum(axis=1) == pytest.approx(1.0)
    # What is next to the lowest level is more probable than what is far from it.
    lowest = [i for i, label in enumerate(labels) if label == "poor"]
    assert (probs[lowest, 1] > probs[lowest, 2:].max(axis=1)).all()


def test_levels_that_no_row_has_are_left_out(encoder):
    texts, labels = rows()
    kept = [i for i, label in enumerate(labels) if label != "fair"]
    estimator = baselines.make("minilm-ordinal", TASK, 0, {"encoder": encoder})
    estimator.fit([texts[i] for i in kept], [labels[i] for i in kept])
    assert estimator.classes_.tolist() == ["best", "good", "poor"]


def test_of_several_points_each_has_its_own_levels(encoder):
    mood = Question("mood", "score", tuple(map(Label, ("low", "mid", "high"))))
    task = Task.asking("t", "How good is it?", [mood, Question("urgent", "yes_no")])
    texts, labels = [], []
    for text, level in zip(*rows(), strict=True):
        answer = {"poor": "low", "fair": "mid"}.get(level, "high")
        for point, said in zip(task.points, (answer, "yes" if "pool" in text else "no"), strict=True):
            texts.append(put(text, point))
            labels.append(point.class_of(said))
    estimator = baselines.make("minilm-ordinal", task, 0, {"encoder": encoder, "strengths": [100.0]}).fit(texts, labels)
    assert (estimator.predict(texts) == np.array(labels)).mean() > 0.9


def test_labels_without_an_order_are_refused():
    plain = Task("t", "What?", tuple(map(Label, LEVELS)))
    topic = Question("topic", "choice", tuple(map(Label, "ab")))
    mixed = Task.asking("t", "What?", [*TASK.questions, topic])
    for task in (plain, mixed):
        with pytest.raises(DataError, match="minilm-ordinal needs levels in order"):
            baselines.make("minilm-ordinal", task, 0)
    with pytest.raises(RecipeError, match="strengths"):
        OrdinalClassifier(strengths=[0.0], labels=LEVELS).fit(*rows())
