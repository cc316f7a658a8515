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

from labelwright.data.choices import lettered
from labelwright.data.task import Example, Task
from labelwright.decisions.decision import LIKELIEST
from labelwright.statistics.calibration import Calibration
from optimizers.gepa.choice import objective as objective_module
from optimizers.gepa.choice.objective import OBJECTIVES, CalibratedAnswers, Objective, label_shares, without_liking
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


def test_of_unbalanced_labels_the_program_that_is_right_is_worth_more():
    """Labels as a minibatch of 180 and 20 rows has them: all of its rows right, or a third of them wrong."""
    gold, shares = np.array([0] * 22 + [1] * 2), np.array([0.9, 0.1])
    wrong = np.isin(np.arange(24), range(0, 22, 3))
    right, worse = (
        without_liking(np.log(np.where(np.eye(2)[answer] == 1, 0.9, 0.1)), shares)
        for answer in (gold, np.where(wrong, 1 - gold, gold))
    )
    assert (right.argmax(axis=1) == gold).all(), "and nobody is told that a right row is wrong"
    rows = np.arange(24)
    assert right[rows, gold].mean() > worse[rows, gold].mean() + 0.05


def test_a_minibatch_has_its_labels_as_often_as_the_rows_that_are_searched(tmp_path):
    by_label = {name: [row for row in SPLITS.train if row.label == name] for name in toy_bundle().task.names}
    pool, fence, hvac = by_label.values()
    rows = [*pool[:12], *fence[:3], *hvac[:3]]
    asked = CalibratedAnswers(toy_bundle(), ROWS[-6:], rows, Liking(), KeptScores(tmp_path))
    probs = asked(prompt("Name it, please."), asked.engine, [row.text for row in rows])
    np.testing.assert_allclose(probs.mean(axis=0), [12 / 18, 3 / 18, 3 / 18], atol=0.02)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=6, max_size=20), st.integers(0, 9))
def test_a_row_without_a_letter_takes_nothing_from_those_that_have_it(n_choices, seed):
    """Rows about which nothing is known stay so, however many choices each has; and a liking goes."""
    has = np.arange(5) < np.array(n_choices)[:, None]
    flat = np.where(has, 0.0, -np.inf)
    np.testing.assert_allclose(without_liking(flat), has / has.sum(axis=1, keepdims=True), atol=1e-6)
    liking = np.random.default_rng(seed).normal(0, 2, 5)
    np.testing.assert_allclose(without_liking(flat + liking).sum(axis=0), (has / has.sum(axis=1)[:, None]).sum(axis=0),
                               atol=0.05)  # fmt: skip


def test_letters_are_as_common_as_among_the_rows_that_have_them():
    task = Task("choices", "Choose.", max_choices=3)
    rows = [Example(str(i), lettered(f"q {i}", list("xyz"[: 2 + (i > 3)])), label) for i, label in enumerate("ABABCC")]
    assert label_shares(replace(toy_bundle(), task=task), rows).tolist() == [2 / 6, 2 / 6, 1.0]


def test_texts_that_stand_twice_in_dev_leave_it_validation(tmp_path):
    """In the order in which DSPy's client asks for them, and each asked once."""
    asked = CalibratedAnswers(toy_bundle(), (*ROWS, ROWS[0], ROWS[2]), SPLITS.calib, Liking(), KeptScores(tmp_path))
    unique = list(dict.fromkeys(row.text for row in asked.validation))
    probs = asked(prompt(TELLING), asked.engine, unique)
    np.testing.assert_array_equal(asked.on_validation(prompt(TELLING)), probs[[*range(len(ROWS)), 0, 2]])
    assert len(asked.engine.calls) == 1


def test_near_copies_are_calibrated_by_neither(tmp_path, monkeypatch):
    dealt = []
    best = objective_module.best_calibration

    def listening(scores, gold, groups, **settings):
        dealt.extend(groups)
        return best(scores, gold, groups, **settings)

    monkeypatch.setattr(objective_module, "best_calibration", listening)
    rows = [replace(row, group=None) for row in ROWS]
    copies = [replace(row, id=f"{row.id} again", text=f"{row.text.upper()}!") for row in rows]
    CalibratedAnswers(toy_bundle(), (*rows, *copies), (), Liking(), KeptScores(tmp_path)).on_validation(prompt(TELLING))
    assert dealt[: len(rows)] == dealt[len(rows) :]
    assert len(set(dealt)) == len(rows)
