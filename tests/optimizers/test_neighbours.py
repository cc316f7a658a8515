"""A row's own examples: how many dev asks for, what is shown, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits
from training_fakes import Record
from word_encoder import WordEncoder

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Task
from labelwright.decide import log_scores, render_rows
from labelwright.errors import DataError, RecipeError
from labelwright.statistics.calibration import Calibration
from optimizers.neighbours import NeighboursStage
from optimizers.stage import StageContext

SPLITS = toy_splits().for_tuning()


class ReadingEngine(FakeEngine):
    """Goes by the answers of the examples above the row."""

    def _row(self, prompt, options):
        shown = re.findall(r"Label: (.+)", prompt.user)
        logits = np.array([shown.count(option.strip()) for option in options], dtype=float)
        return logits - np.log(np.exp(logits).sum())


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    from labelwright.predictors.encoders import neighbours

    opened = WordEncoder()
    monkeypatch.setattr(neighbours, "open_encoder", lambda name: opened)
    neighbours._indexed.cache_clear()
    yield opened
    neighbours._indexed.cache_clear()


def run(folder: Path, engine: FakeEngine, bundle: Bundle | None = None, **settings: Any) -> Bundle:
    context = StageContext(folder, Record(), lambda weights: engine, 0)
    bundle = bundle or replace(toy_bundle(), calibration=Calibration(3.0))
    return NeighboursStage(**settings).run(bundle, SPLITS, context)


def test_neighbours_that_help_are_kept_and_travel_with_the_bundle(tmp_path: Path) -> None:
    bundle = run(tmp_path, ReadingEngine(), k=(1, 2))
    entry = bundle.history[-1]
    assert entry["kept"]
    assert entry["k"] in (1, 2)
    assert entry["dev_after"]["accuracy"] > entry["dev_before"]["accuracy"] + 0.1
    assert bundle.calibration == Calibration()
    assert bundle.prompt.neighbours is not None
    assert bundle.prompt.neighbours.pool == tuple((row.text, row.label) for row in SPLITS.train)
    texts = [row.text for row in SPLITS.dev]
    before = log_scores(bundle, ReadingEngine(), texts)
    again = load(save(bundle, tmp_path / "bundle") and tmp_path / "bundle")
    assert (log_scores(again, ReadingEngine(), texts) == before).all()


def test_train_rows_see_neither_themselves_nor_their_paraphrases(tmp_path: Path) -> None:
    prompt = run(tmp_path, ReadingEngine(), k=(2,)).prompt
    text_of = {row.text: row for row in SPLITS.train}
    for one, row in zip(render_rows(prompt, [row.text for row in SPLITS.train]), SPLITS.train, strict=True):
        head, *shown, own = one.user.split("\n\n")
        assert (head, own) == ("Examples:", row.text)
        assert len(shown) == 2
        assert row.group not in {text_of[example.split("\nLabel: ")[0]].group for example in shown}


def test_where_they_do_not_help_the_bundle_stays(tmp_path: Path) -> None:
    given = toy_bundle()
    bundle = run(tmp_path, FakeEngine(), given, k=(1,), token_budget=10)
    assert (bundle.prompt, bundle.history[-1]["k"]) == (given.prompt, 0)
    assert "accuracy" not in bundle.history[-1]["tried"][1], "over the budget"


def test_rows_with_their_own_choices_are_refused(tmp_path: Path) -> None:
    bundle = replace(toy_bundle(), task=Task("choices", "Choose.", max_choices=3))
    with pytest.raises(RecipeError, match="answer that was right for a similar row"):
        run(tmp_path, FakeEngine(), bundle)


def test_empty_train_is_named(tmp_path: Path) -> None:
    context = StageContext(tmp_path, Record(), lambda weights: FakeEngine(), 0)
    with pytest.raises(DataError, match="train split is empty"):
        NeighboursStage().run(toy_bundle(), replace(SPLITS, train=()), context)


@pytest.mark.parametrize("settings", [{"k": ()}, {"k": (0,)}, {"token_budget": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(settings))):
        NeighboursStage(**settings)
