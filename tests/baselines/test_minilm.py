"""The embedding baselines on a fake encoder, and once on the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import toy_task

from baselines import BASELINES, size_bytes
from baselines.minilm import NearestName, minilm_logreg


def test_nearest_name_takes_the_name_that_is_mentioned(word_model: Any) -> None:
    fitted = NearestName().fit(["", ""], ["garden_lights", "pool"])
    assert list(fitted.predict(["lights in the garden", "the pool is green"])) == ["garden_lights", "pool"]
    assert "garden lights" in word_model.encoded


def test_descriptions_help_where_the_name_is_not_mentioned(word_model: Any) -> None:
    texts, labels = ["", ""], ["fence", "pool"]
    descriptions = {"pool": "chlorine skimmer"}
    assert NearestName(descriptions).fit(texts, labels).predict_proba(["chlorine"])[0, 1] > 0.9
    assert NearestName().fit(texts, labels).predict_proba(["chlorine"])[0, 1] < 0.9


def test_temperature_sharpens(word_model: Any) -> None:
    sharp, flat = (NearestName(temperature=t).fit(["", ""], ["fence", "pool"]) for t in (0.05, 5.0))
    assert sharp.predict_proba(["pool"])[0, 1] > flat.predict_proba(["pool"])[0, 1] > 0.5


def test_training_rows_are_embedded_once_and_predictions_every_time(word_model: Any) -> None:
    texts, labels = ["pool water", "fence post"], ["pool", "fence"]
    fitted = minilm_logreg(toy_task(), 0).fit(texts, labels)
    minilm_logreg(toy_task(), 1).fit(texts, labels)
    assert word_model.encoded == texts
    fitted.predict(texts)
    assert word_model.encoded == texts * 2


@pytest.mark.real
def test_real_encoder_knows_what_words_mean() -> None:
    texts = ["The water in the deep end is green", "A post rotted and two panels lean over", "Cold air from the vents"]
    labels = ["pool", "fence", "hvac"]
    fitted = BASELINES["minilm-nearest-name"](toy_task(), 0).fit(texts, labels)
    probs = fitted.predict_proba(texts)
    assert list(fitted.predict(texts)) == labels
    assert probs.sum(axis=1) == pytest.approx(np.ones(3))
    assert 80e6 < size_bytes(fitted) < 100e6
    assert list(BASELINES["minilm-logreg"](toy_task(), 0).fit(texts, labels).predict(texts)) == labels
