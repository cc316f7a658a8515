"""The prior stage: it undoes a liking for a label without looking at a train label, and knows when it does not help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle
from rows import as_letters
from training_fakes import Record

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, Task
from labelwright.errors import RecipeError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration
from optimizers.prior import CONTENT_FREE, PriorStage, prior_bias
from optimizers.stage import StageContext

NAMES = toy_bundle().task.names


class BiasedEngine(FakeEngine):
    """Knows the truth of a text, and adds a liking for the first label."""

    def __init__(self, truth: dict[str, np.ndarray], liking: float) -> None:
        super().__init__()
        self.truth, self.liking = truth, liking

    def score(self, prompts: Any, options: Any) -> np.ndarray:
        self.calls.append((len(prompts), len(options)))
        blank = np.zeros(len(options))
        scores = np.stack([self.truth.get(prompt.user, blank) for prompt in prompts])
        scores[:, 0] += self.liking
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def drawn(liking: float) -> tuple[BiasedEngine, Splits]:
    rng = np.random.default_rng(0)
    truth, rows = {}, []
    for i in range(400):
        values = 2 * rng.normal(size=3)
        gold = (values + rng.gumbel(size=3)).argmax()
        # Train labels are all the same and wrong: whoever looked at them would be found out.
        rows.append(Example(str(i), f"text {i}", NAMES[gold] if i >= 200 else NAMES[2]))
        truth[f"text {i}"] = values
    return BiasedEngine(truth, liking), Splits(tuple(rows[:200]), tuple(rows[200:]), (), ())


def run(folder: Path, engine: FakeEngine, splits: Splits, bundle: Bundle | None = None, **settings: Any) -> Bundle:
    context = StageContext(folder, Record(), lambda weights: engine, seed=0)
    return PriorStage(**settings).run(bundle or toy_bundle(), splits, context)


@pytest.mark.parametrize("source", ["dev", "train", "content_free"])
def test_a_liking_for_a_label_is_taken_out(tmp_path: Path, source: str) -> None:
    engine, splits = drawn(liking=3.0)
    bundle = run(tmp_path, engine, splits, source=source)
    entry = bundle.history[-1]
    assert bundle.calibration.temperature == 1.0
    assert bundle.calibration.bias[0] < -1, "against a liking of 3"
    assert entry["dev_after"]["accuracy"] > entry["dev_before"]["accuracy"] + 0.1
    assert entry["source"] in ((source,) if source != "dev" else ("train", "content_free"))
    assert entry["kept"]


def test_where_the_liking_is_right_the_bundle_stays(tmp_path: Path) -> None:
    engine, splits = drawn(liking=1.0)
    common = tuple(replace(row, label=NAMES[0]) for row in splits.dev)
    bundle = run(tmp_path, engine, replace(splits, dev=common))
    assert (bundle.calibration, bundle.history[-1]["kept"]) == (Calibration(), False)
    assert bundle.history[-1]["source"] == "none"
    assert set(bundle.history[-1]["dev"]) == {"none", "train", "content_free"}


def test_a_temperature_that_came_in_does_not_stay_with_a_bias(tmp_path: Path) -> None:
    engine, splits = drawn(liking=3.0)
    bundle = run(tmp_path, engine, splits, replace(toy_bundle(), calibration=Calibration(7.0)), source="train")
    assert bundle.calibration.temperature == 1.0


def test_scores_are_found_again(tmp_path: Path) -> None:
    engine, splits = drawn(liking=3.0)
    first = run(tmp_path, engine, splits, rows=50)
    n_calls = len(engine.calls)
    assert sum(n for n, _ in engine.calls) == 50 + 200 + len(CONTENT_FREE)
    assert run(tmp_path, engine, splits, rows=50) == first
    assert len(engine.calls) == n_calls


def test_letters_are_judged_by_the_rows_that_have_them(tmp_path: Path) -> None:
    task = Task("choices", "Choose.", max_choices=4)
    rows = tuple(
        as_letters(Example(f"{i}", f"what {i}", "yes", ("yes", "no", "maybe")[: 2 + i % 2])) for i in range(40)
    )
    engine = BiasedEngine({}, liking=2.0)
    bundle = Bundle(task, Prompt.for_task(task, Template()), Base("fake"), Calibration())
    tuned = run(tmp_path, engine, Splits(rows[:20], rows[20:], (), ()), bundle, source="train")
    a, b, c, d = tuned.calibration.bias
    assert a < b
    assert a < c
    assert np.isfinite(d)
    with pytest.raises(RecipeError, match='content_free": rows bring choices or points of their own'):
        run(tmp_path, engine, Splits(rows, rows, (), ()), bundle, source="content_free")


def test_a_label_never_expected_gets_a_finite_bias() -> None:
    assert np.isfinite(prior_bias(np.array([1.0, 0.0]))).all()


@pytest.mark.parametrize(("settings", "message"), [({"source": "test"}, "source = 'test'"), ({"rows": 0}, "rows = 0")])
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        PriorStage(**settings)
