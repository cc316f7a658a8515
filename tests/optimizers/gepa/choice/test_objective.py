"""What an answer is worth, and that a liking for labels, which calibration takes out, is worth nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labelwright.decisions.decision import LIKELIEST
from labelwright.statistics.calibration import Calibration
from optimizers.gepa.choice.objective import OBJECTIVES, CalibratedAnswers, Objective, without_liking
from optimizers.kept import KeptScores
from optimizers.scores import gold_of
from rewards.label_match import LabelMatch

SPLITS = toy_splits()
ROWS = (*SPLITS.train, *SPLITS.dev)
TELLING = "Name it.\npool: chlorine, skimmer, liner\nfence: post, panel, gate\nhvac: furnace, duct, vent"


class Liking(FakeEngine):
    """Likes the first label much more under instructions that say please: what they do beside telling rows apart."""

    def score(self, prompts, options):
        liked = np.array([[3.0 if "please" in one.system.lower() else 0.0] for one in prompts])
        return super().score(prompts, options) + liked * np.eye(len(options))[0]


def answers(tmp_path: Path, bundle=None, engine=None) -> CalibratedAnswers:
    bundle = bundle or toy_bundle()
    return CalibratedAnswers(bundle, ROWS, SPLITS.calib, engine or Liking(), KeptScores(tmp_path))


def prompt(text: str):
    return toy_bundle().prompt.with_instructions(text)


def test_values_are_those_of_the_answer_of_the_distribution_and_of_the_log_loss():
    probs, gold = np.array([[0.2, 0.8], [0.5, 0.5], [0.0, 0.0]]), np.array([0, 1, 1])
    rewards = np.array([[1.0, 0.5], [0.0, 1.0]])
    values = {name: Objective(name, rewards, LIKELIEST).values(probs, gold).tolist() for name in OBJECTIVES}
    assert values["reward"] == [0.5, 0.0, 0.0]
    assert values["expected_reward"] == pytest.approx([0.2 + 0.8 * 0.5, 0.5, 0.0])
    assert values["log_loss"] == pytest.approx([1 + np.log2(0.2), 0.0, 0.0])
    assert Objective("log_loss", rewards, LIKELIEST).values(np.array([[1.0, 0.0]]), np.array([1]))[0] > -30


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_mere_liking_for_a_label_gains_nothing(tmp_path, name):
    asked, objective = answers(tmp_path), Objective.of(name, LabelMatch(), toy_bundle())
    gold = gold_of(asked.bundle, ROWS)

    def value(text: str) -> float:
        return float(objective.values(asked.on_validation(prompt(text)), gold).mean())

    lost = value(TELLING) - value(f"Please. {TELLING}")
    would_have = raw(objective, TELLING) - raw(objective, f"Please. {TELLING}")
    assert would_have > 0.1
    # A penalty keeps the calibration from taking all of it out; in the other direction it would be as little.
    assert 0 <= lost < 0.35 * would_have
    assert value(TELLING) > value("Name it.") + 0.2, "and telling rows apart gains"


def raw(objective: Objective, text: str) -> float:
    asked = prompt(text)
    scores = Liking().score(asked.render_all([row.text for row in ROWS]), asked.options)
    return float(objective.values(Calibration().apply(scores), gold_of(toy_bundle(), ROWS)).mean())


def test_a_minibatch_is_compared_without_the_liking_too(tmp_path):
    asked, batch = answers(tmp_path), [row.text for row in SPLITS.train[::3]]
    plain, liked = (asked(prompt(text), asked.engine, batch) for text in ("Name it.", "Name it, please."))
    np.testing.assert_allclose(liked, plain, atol=0.01)
    np.testing.assert_allclose(plain.mean(axis=0), 1 / 3, atol=0.01)


@settings(max_examples=30)
@given(liking=arrays(float, 3, elements=st.floats(-8, 8)), seed=st.integers(0, 99))
def test_another_constant_a_label_changes_nothing(liking, seed):
    logits = np.random.default_rng(seed).normal(0, 1, (12, 3))
    np.testing.assert_allclose(without_liking(logits + liking), without_liking(logits), atol=0.02)


def test_a_batch_smaller_than_the_labels_are_many_is_not_flattened():
    logits = np.log(np.array([[0.97, 0.02, 0.01]]))
    made = without_liking(logits)
    assert made.argmax() == 0
    assert made[0, 0] > 0.9
    nothing = without_liking(np.full((1, 3), -np.inf))
    assert not nothing.any(), "and a row without an answer stays one"


def test_rows_outside_are_calibrated_by_what_validation_taught(tmp_path):
    """Not one by one: their own labels have no say."""
    asked = answers(tmp_path)
    rows = SPLITS.calib
    other = [replace(row, label="pool") for row in rows]
    np.testing.assert_array_equal(asked.elsewhere(prompt(TELLING), rows), asked.elsewhere(prompt(TELLING), other))
    with_liking = asked.elsewhere(prompt(TELLING + " please"), rows)
    assert (with_liking.argmax(axis=1) != 0).any()


def test_each_bundle_is_asked_once_for_a_row_even_by_who_starts_again(tmp_path):
    first = answers(tmp_path)
    before = first.on_validation(prompt(TELLING))
    again = answers(tmp_path)
    np.testing.assert_array_equal(again.on_validation(prompt(TELLING)), before)
    assert again.engine.calls == []
    assert before.shape == (len(ROWS), 3)


def test_an_engine_without_probabilities_is_believed_as_it_is(tmp_path):
    class Server(FakeEngine):
        has_probabilities = False

    asked = answers(tmp_path, engine=Server())
    raw = Calibration().apply(Server().score(prompt(TELLING).render_all([r.text for r in ROWS]),
                                             prompt("").options))  # fmt: skip
    np.testing.assert_allclose(asked.on_validation(prompt(TELLING)), raw)
