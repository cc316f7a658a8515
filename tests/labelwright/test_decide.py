"""A row's way asks an engine for what it needs: the calibration that decides, or everything."""

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle

from labelwright.bundle.types import Bundle
from labelwright.data.choices import lettered
from labelwright.data.task import Task
from labelwright.decide import calibrated, log_scores, option_scores, probabilities
from labelwright.engines.coalesce import CoalescingEngine
from labelwright.engines.one_hot import one_hot
from labelwright.engines.protocol import score_options
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import UNCALIBRATED, Calibration
from labelwright.statistics.metrics import answers

TEXTS = ["the pool", "my fence"]
FITTED = Calibration(2.34, (0.5, -0.5, 0.0))


class BoundedEngine(FakeEngine):
    """Remembers which calibrations it was asked for."""

    unexpanded_mass = 1e-4

    def __init__(self):
        super().__init__()
        self.asked = []

    def score(self, prompts, options, calibration=None):
        self.asked.append(calibration)
        return super().score(prompts, options)


def of_choices(**calibration):
    task = Task("quiz", "Answer the question.", max_choices=4)
    return Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration(**calibration))


def test_who_ends_with_probabilities_names_the_calibration_that_makes_them():
    engine, bundle = BoundedEngine(), toy_bundle().with_stage({}, calibration=FITTED)
    np.testing.assert_allclose(
        probabilities(bundle, engine, TEXTS), FITTED.apply(FakeEngine().score(*asked(bundle))), atol=1e-12
    )
    calibrated(bundle.prompt, UNCALIBRATED, engine, TEXTS)
    option_scores(bundle.prompt, engine, TEXTS, FITTED)
    assert engine.asked == [FITTED, UNCALIBRATED, FITTED]


class Mute(FakeEngine):
    """Names winners only, and says nothing usable of rows with a question mark."""

    has_probabilities = False

    def score(self, prompts, options):
        winners = super().score(prompts, options).argmax(axis=1)
        chosen = np.where(["?" in prompt.user for prompt in prompts], -1, winners)
        return one_hot(chosen, len(options))


def test_a_row_without_an_answer_stays_one_whatever_is_done_to_it():
    bundle = toy_bundle().with_stage({}, calibration=Calibration(0.5, (0.0, 5.0, -5.0)))
    scores = option_scores(bundle.prompt, Mute(), ["the pool", "what?"])
    assert np.isneginf(scores[1]).all()
    probs = probabilities(bundle, Mute(), ["the pool", "what?"])
    assert answers(probs).tolist() == [0, -1]
    assert (probs[1] == 0).all()
    with np.errstate(divide="ignore"):
        again = bundle.calibration.apply(np.log(probs))
    assert answers(again).tolist() == [0, -1]
    # Equal scores of an engine that has probabilities are an answer: it cannot decide.
    even = FakeEngine()
    even._row = lambda prompt, options: np.full(len(options), -np.log(len(options)))
    assert answers(probabilities(toy_bundle(), even, ["x"])).tolist() == [0]


def test_of_a_rows_orders_those_without_an_answer_are_left_out():
    bundle, text = of_choices(rotations=True), lettered("wood floats", ["stone", "brick", "wood"])

    class SometimesMute(Mute):
        def score(self, prompts, options):
            # Says nothing where stone comes first.
            chosen = np.array(
                [-1 if "A. stone" in p.user else "ABCD".index(p.user[p.user.index(". wood") - 1]) for p in prompts]
            )
            return one_hot(chosen, len(options))

    assert probabilities(bundle, SometimesMute(), [text])[0].argmax() == 2
    assert answers(probabilities(bundle, Mute(), [lettered("what?", ["a", "b"])])).tolist() == [-1]


def asked(bundle):
    return bundle.prompt.render_all(TEXTS), bundle.prompt.options


def test_who_keeps_scores_or_fits_on_them_gets_every_option_to_its_end():
    engine, bundle = BoundedEngine(), toy_bundle().with_stage({}, calibration=FITTED)
    log_scores(bundle, engine, TEXTS)
    option_scores(bundle.prompt, engine, TEXTS)
    assert engine.asked == [None, None]


def test_choices_are_never_left_unexpanded():
    """What an absent letter holds is not the row's, and a mean over orders has no bound of this kind."""
    engine, text = BoundedEngine(), lettered("wood floats", ["stone", "wood"])
    for bundle in (of_choices(), of_choices(temperature=2.0), of_choices(rotations=True)):
        probabilities(bundle, engine, [text])
    assert engine.asked == [None] * 3
    # Where rows have no choices, rotations turn nothing and the bound holds.
    turned = toy_bundle().with_stage({}, calibration=Calibration(2.0, rotations=True))
    probabilities(turned, engine, TEXTS)
    assert engine.asked[-1] == Calibration(2.0)


def test_engines_that_expand_everything_need_not_know_of_calibration():
    bundle = toy_bundle()
    plain = FakeEngine().score(*asked(bundle))
    np.testing.assert_array_equal(score_options(FakeEngine(), *asked(bundle), FITTED), plain)
    with CoalescingEngine(FakeEngine()) as shared:
        np.testing.assert_array_equal(score_options(shared, *asked(bundle), FITTED), plain)


@pytest.mark.parametrize("alone", [False, True])
def test_rows_share_an_engine_call_only_with_rows_of_the_same_calibration(alone):
    engine, bundle = BoundedEngine(), toy_bundle()
    rendered, options = asked(bundle)
    with CoalescingEngine(engine, quiet_s=0) as shared:
        first = shared.submit(rendered, options, calibration=FITTED, alone=alone)
        second = shared.submit(rendered, options, calibration=UNCALIBRATED, alone=alone)
        third = shared.submit(rendered, options, alone=alone)
        for future in (first, second, third):
            assert future.result().shape == (2, 3)
        shared.score(rendered, options, FITTED)
    assert engine.asked == [FITTED, UNCALIBRATED, None, FITTED]
