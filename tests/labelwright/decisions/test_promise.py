"""What a bundle promises: what can be asked, what is refused and how, and that it survives being written."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_task

from labelwright.bundle.card import card
from labelwright.bundle.document import from_json, to_json
from labelwright.bundle.store import load, save
from labelwright.data.costs import Costs
from labelwright.data.records import Row
from labelwright.decisions.answered import answer
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.promise import NO_PROMISE, Promise
from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.labelling import label_rows

NAMES = toy_task().names


def drawn(n_rows: int, seed: int = 0, sharp: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right, and labels drawn from them."""
    chance = np.random.default_rng(seed)
    scores = sharp * chance.normal(size=(n_rows, 3))
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return probs, (scores + chance.gumbel(size=scores.shape)).argmax(axis=1)


def promise(n_rows: int = 400, **more) -> Promise:
    return Promise.of(LIKELIEST, drawn(n_rows, 1), drawn(n_rows, 2), n_rows, **more)


def test_the_lower_the_error_asked_the_fewer_rows_are_answered():
    kept = promise()
    some, most = (kept.ask(max_error=error) for error in (0.05, 0.15))
    assert 0.1 < some.coverage() < most.coverage() <= 1
    assert (some.thresholds(3) > most.thresholds(3)).all()
    assert kept.thresholds(3) is None
    assert some.ask(max_error=1.0).thresholds(3) is None


def test_what_cannot_be_promised_is_refused_in_a_line_that_says_how_many_rows_would_do():
    with pytest.raises(
        DataError, match=r"at most 0.1 % of the answered rows wrong, with 95 % confidence cannot be"
    ) as told:
        promise(60).ask(max_error=0.001)
    assert "from 60 independent calib rows kept apart" in str(told.value)
    assert "more are wrong at every confidence" in str(told.value) or "independent calib rows would do" in str(
        told.value
    )
    with pytest.raises(
        DataError, match=r"calib has 54 independent rows, and all of them fit.*118 at the least would do"
    ):
        Promise(n_fitted=54).ask(max_error=0.05)
    with pytest.raises(DataError, match="without rows kept apart for it; calibrate and export it again"):
        NO_PROMISE.ask(sets=0.9)
    with pytest.raises(RecipeError, match=r"max_error = 1.5: expected a share.*sets = 1.0: expected a share"):
        promise().ask(max_error=1.5, sets=1.0)


def test_where_the_rows_would_do_the_setting_that_fits_them_all_is_named():
    with pytest.raises(DataError, match=r"holds the right label in 90 %.*max_error = 1 \(sets are then all") as told:
        Promise(n_fitted=54).ask(sets=0.9)
    assert "calib has 54 independent rows, and all of them fit the probabilities; half of them" in str(told.value)
    with pytest.raises(DataError, match=r"holds the right label in 99 %.*; 198 at the least would do, so give"):
        Promise(n_fitted=54).ask(sets=0.99)
    with pytest.raises(DataError, match=r"calib has 54 .*\[calibrate\] promise_share = 0.5 and max_error = 0.2$"):
        Promise(n_fitted=54).ask(max_error=0.2)
    with pytest.raises(RecipeError, match=r"expected a share of at least 0.000001"):
        Promise(n_fitted=54).ask(max_error=5e-324)


def test_a_confidence_without_an_error_is_refused():
    for alone in ({"by_label": True}, {"confidence": 0.99}):
        with pytest.raises(DataError, match="expected a max_error below 1"):
            promise().ask(**alone)
    promise().ask(max_error=0.1).ask(confidence=0.9, by_label=False)
    promise().ask(sets=0.9, confidence=0.9)


def test_rows_that_would_do_are_about_right():
    few = promise(150).ask
    with pytest.raises(DataError) as told:
        few(max_error=0.02)
    needed = int(str(told.value).split("about ")[1].split()[0])
    made = [
        Promise.of(LIKELIEST, drawn(needed, 10 + s), drawn(needed, 90 + s), needed).all.threshold(0.02, 0.95)
        for s in range(5)
    ]
    assert sum(map(math.isfinite, made)) >= 2


def test_for_each_label_with_one_confidence_for_all_of_them():
    probs, gold = drawn(3000, 1)
    probs_apart, gold_apart = drawn(3000, 2)
    # Of the rows answered with the last label every second one is wrong.
    for at, right in ((probs, gold), (probs_apart, gold_apart)):
        of_last = np.flatnonzero(at.argmax(axis=1) == 2)[::2]
        right[of_last] = 0
    kept = Promise.of(LIKELIEST, (probs, gold), (probs_apart, gold_apart), 3000)
    each = kept.ask(max_error=0.1, by_label=True)
    thresholds = each.thresholds(3)
    assert np.isfinite(thresholds[:2]).all()
    assert thresholds[2] == math.inf
    alone = kept.labels[0].threshold(0.1, 0.95)
    assert thresholds[0] == kept.labels[0].threshold(0.1, 1 - 0.05 / 3) >= alone
    with pytest.raises(DataError, match=r"cannot be promised for any label.*without by_label"):
        promise(60).ask(max_error=0.05, by_label=True)


def test_rows_for_which_a_person_is_cheaper_are_not_answered_and_count_nowhere():
    decision = Decision.of(Costs(abstain=0.2), NAMES)
    kept = Promise.of(decision, drawn(400, 1), drawn(400, 2), 400)
    answered = int((decision.decide(drawn(400, 2)[0]).said >= 0).sum())
    assert kept.all.tested[-1][0] == answered < 400


def test_a_bundle_abstains_and_gives_sets(tmp_path):
    bundle = replace(toy_bundle(), promise=promise().ask(max_error=0.05, sets=0.9))
    lowest = bundle.decision.thresholds[0]
    sure, unsure = np.array([0.0, 1.0, 0.0]), np.array([0.3, 0.4, 0.3])
    assert lowest > 0.4
    assert answer(bundle, sure) == {
        **{"label": "fence", "label_set": ["fence"], "confidence": 1.0},
        "probabilities": {"pool": 0, "fence": 1, "hvac": 0},
    }
    said = answer(bundle, unsure)
    assert (said["label"], said["abstained"], said["suggested"], said["confidence"]) == (None, "unsure", "fence", 0.4)
    in_set = [name for name, p, least in zip(NAMES, unsure, bundle.set_thresholds, strict=True) if p >= least]
    assert said["label_set"] == [name for name in NAMES if name in [*in_set, "fence"]]
    wide = replace(bundle, promise=bundle.promise.ask(sets=0.999))
    assert answer(wide, unsure)["label_set"] == ["pool", "fence", "hvac"]
    assert load_again(bundle, tmp_path) == bundle
    rows = [Row(1, {"text": "chlorine", "label": "pool", "abstained": "no"})]
    (labelled,) = label_rows(rows, bundle, FakeEngine())
    assert (labelled["input_label"], labelled["input_abstained"]) == ("pool", "no")


def load_again(bundle, folder):
    save(bundle, folder / "bundle")
    return load(folder / "bundle")


def test_a_bundle_without_a_promise_is_written_as_before():
    assert "promise" not in to_json(toy_bundle(), None)
    assert "costs" not in to_json(toy_bundle(), None)["task"]


def test_prices_are_part_of_the_bundle(tmp_path):
    bundle = toy_bundle()
    bundle = replace(bundle, task=replace(bundle.task, costs=Costs((("hvac", "pool", 7.0),), abstain=0.5)))
    assert load_again(bundle, tmp_path).task.costs == bundle.task.costs
    assert answer(bundle, np.array([0.5, 0.1, 0.4]))["abstained"] == "a person is cheaper"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_apart", -1),
        ("n_apart", 7),
        ("gold", [9] * 400),
        ("at_gold", [0.5]),
        ("at_gold", [2.0] * 400),
        ("all", {"thresholds": [0.1, 0.5], "first": [[1, 0], [1, 0]], "tested": [[1, 0], [1, 0]]}),
        ("all", {"thresholds": [0.5], "first": [], "tested": []}),
        ("all", {"thresholds": [0.0], "first": [[1_000_000_000, 0]], "tested": [[1, 0]]}),
        ("all", {"thresholds": [0.0], "first": [[1, 2]], "tested": [[1, 0]]}),
        ("all", {"thresholds": [0.0], "first": [[1, 0]], "tested": [[401, 0]]}),
        ("all", {"thresholds": [0.0], "first": [[1, 0]], "tested": [[1, 2]]}),
        ("labels", {"12": {"thresholds": [0.0], "first": [[1, 0]], "tested": [[1, 0]]}}),
        ("labels", {"-7": {"thresholds": [0.0], "first": [[1, 0]], "tested": [[1, 0]]}}),
        ("asked", {"max_error": 2}),
        ("asked", {"error": 0.1}),
    ],
)
def test_a_damaged_promise_is_refused(tmp_path, key, value):
    content = json.loads(json.dumps(to_json(replace(toy_bundle(), promise=promise()), None)))
    assert from_json(content, tmp_path)["promise"] == promise()
    content["promise"][key] = value
    with pytest.raises(BundleError):
        from_json(content, tmp_path)


def test_the_card_says_what_can_be_promised_and_what_mistakes_cost():
    bundle = replace(toy_bundle(), promise=promise())
    covered = f"{100 * bundle.promise.ask(max_error=0.05).coverage():.0f} %"
    assert f"Answering {covered} of the rows, at most 5 % of the answered rows wrong, with 95 % confidence" in card(
        bundle
    )
    assert "ask for it with `--max-error 0.05`" in card(bundle)
    assert "it does so by itself" in card(replace(bundle, promise=promise().ask(max_error=0.1)))
    few = card(replace(bundle, promise=Promise(n_fitted=54)))
    assert "## Promise\n\nAt most 5 % of the answered rows wrong, with 95 % confidence cannot be promised: calib" in few
    priced = replace(bundle, task=replace(bundle.task, costs=Costs((("hvac", "pool", 7.0),), abstain=0.5)))
    assert "a mistake costs 1, a right answer 0; giving no label 0.5; hvac answered as pool 7." in card(priced)
    assert "## Promise" not in card(toy_bundle())
