"""Fixed examples: which are tried, what a budget leaves out, and what dev decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits
from training_fakes import Record
from word_encoder import WordEncoder

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, by_label
from labelwright.errors import DataError, RecipeError
from labelwright.statistics.calibration import Calibration
from optimizers import demos
from optimizers.demos import DemosStage, typical_rows
from optimizers.prompt_choice import numbers_of
from optimizers.stage import StageContext

SPLITS = toy_splits().for_tuning()


class ReadingEngine(FakeEngine):
    """Knows a label by the words of its examples."""

    def _row(self, prompt, options):
        words = set(prompt.user.split())
        logits = np.zeros(len(options))
        for example in prompt.system.split("\n\n"):
            text, _, answer = example.partition("\nLabel: ")
            if f" {answer}" in options:
                logits[options.index(f" {answer}")] += len(words & set(text.split()))
        return logits - np.log(np.exp(logits).sum())


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(demos, "open_encoder", lambda name: WordEncoder())


def run(folder: Path, engine: FakeEngine | None = None, **settings: Any) -> Bundle:
    engine = engine or ReadingEngine()
    bundle = replace(toy_bundle(), calibration=Calibration(3.0))
    return DemosStage(**settings).run(bundle, SPLITS, StageContext(folder, Record(), lambda weights: engine, 0))


def test_examples_that_help_are_kept(tmp_path: Path) -> None:
    bundle = run(tmp_path, per_label=(1, 4), draws=2)
    entry = bundle.history[-1]
    assert entry["kept"]
    assert entry["dev_after"]["accuracy"] > entry["dev_before"]["accuracy"] + 0.1
    assert len(bundle.prompt.demos) == 3 * entry["k"]
    assert {label for _, label in bundle.prompt.demos} == set(bundle.task.names)
    assert set(bundle.prompt.demos) <= {(row.text, row.label) for row in SPLITS.train}
    assert bundle.calibration == Calibration(), "what was fitted on the old scores is gone"
    assert [(one["k"], one.get("how")) for one in entry["tried"][1:]] == [
        (k, how) for k in (1, 4) for how in ("typical", "draw 1", "draw 2")
    ]


def test_labels_take_turns_among_the_examples(tmp_path: Path) -> None:
    demos = run(tmp_path, per_label=(4,), draws=0).prompt.demos
    assert [len({label for _, label in demos[start : start + 3]}) for start in range(0, 12, 3)] == [3, 3, 3, 3]


def test_a_budget_leaves_out_what_is_too_long(tmp_path: Path) -> None:
    bundle = run(tmp_path, per_label=(1, 4), token_budget=100)
    entry = bundle.history[-1]
    within = [one for one in entry["tried"] if "accuracy" in one]
    assert {one["k"] for one in within} == {0, 1}
    assert all(one["prompt_tokens"] > 100 for one in entry["tried"] if one not in within)
    unchanged = run(tmp_path / "..", per_label=(4,), token_budget=60)
    assert (unchanged.prompt, unchanged.calibration) == (toy_bundle().prompt, Calibration(3.0))
    assert (unchanged.history[-1]["kept"], unchanged.history[-1]["k"]) == (False, 0)


def test_scores_are_found_again(tmp_path: Path) -> None:
    engine = ReadingEngine()
    first = run(tmp_path, engine, per_label=(1,))
    n_calls = len(engine.calls)
    assert run(tmp_path, engine, per_label=(1,)) == first
    assert len(engine.calls) == n_calls


def test_the_typical_row_is_in_the_middle_and_paraphrases_wait() -> None:
    texts = ("pool", "pool water", "pool water green", "water green")
    rows = [Example(str(i), text, "a", group="g" if i in (1, 2) else None) for i, text in enumerate(texts)]
    ranked = [row.text for row in typical_rows(rows, "words")["a"]]
    assert ranked[0] in ("pool water", "pool water green")
    assert ranked[-1] in ("pool water", "pool water green")
    assert sorted(ranked) == sorted(texts)


def test_prompts_are_compared_without_their_lean() -> None:
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=(500, 3))
    gold = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    leaning = numbers_of(scores + np.array([4.0, 0, 0]), gold)
    assert leaning["accuracy"] < numbers_of(scores, gold)["accuracy"] - 0.1
    assert leaning["accuracy_prior_removed"] > leaning["accuracy"] + 0.1


def test_empty_parts_are_named(tmp_path: Path) -> None:
    context = StageContext(tmp_path, Record(), lambda weights: FakeEngine(), 0)
    for part in ("train", "dev"):
        with pytest.raises(DataError, match=f"the {part} split is empty"):
            DemosStage().run(toy_bundle(), replace(SPLITS, **{part: ()}), context)


@pytest.mark.parametrize("settings", [{"per_label": ()}, {"per_label": (0,)}, {"draws": -1}, {"token_budget": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(settings))):
        DemosStage(**settings)


def test_every_label_of_train_is_ranked() -> None:
    ranked = typical_rows(SPLITS.train, "words")
    assert {label: len(rows) for label, rows in ranked.items()} == {
        label: len(rows) for label, rows in by_label(SPLITS.train).items()
    }
