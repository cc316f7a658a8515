"""Components through a whole search: each is changed, all are paid for, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine, toy_bundle
from gepa_search import QUICK, RecordingTracker, hard_splits, run

from labelwright.data.task import Label, Splits, Task
from labelwright.errors import RecipeError
from labelwright.prompt import Prompt
from optimizers.gepa import reflection
from optimizers.gepa.components.parts import Parts
from optimizers.gepa.stage import GepaStage
from optimizers.stage import StageContext

SPLITS = hard_splits()
GOOD = "pool: chlorine, skimmer, liner\nfence: post, panel, gate\nhvac: furnace, duct, vent"


@pytest.mark.parametrize(("seed", "components"), [(0, ("descriptions",)), (1, ("instructions", "descriptions"))])
def test_a_search_changes_its_components_within_one_budget(tmp_path: Path, seed, components):
    bundle, tracker, engine = run(tmp_path, SPLITS, seed=seed, components=components, token_budget=60)
    (entry,) = bundle.history
    assert entry["components"] == list(components)
    assert entry["improved"]
    assert entry["dev_after"] >= entry["dev_before"] + 0.1
    before = toy_bundle().prompt
    assert bundle.prompt == replace(before, instructions=bundle.prompt.instructions, labels=bundle.prompt.labels)
    assert [one.name for one in bundle.prompt.labels] == [one.name for one in before.labels]
    programs = json.loads((tmp_path / "programs.json").read_text())
    written = {name: {one[name] for one in programs} for name in ("instructions", "descriptions")}
    assert len(written["descriptions"]) > 1
    assert (len(written["instructions"]) > 1) == ("instructions" in components)
    assert tracker.tables["programs-table"]["descriptions"] == [one["descriptions"] for one in programs]
    parts = Parts(before, components, engine.count_tokens)
    for one in programs:
        prompt = parts.prompt({"predict": one["instructions"], "descriptions": one["descriptions"]})
        assert one["n_tokens"] == parts.n_tokens(prompt) <= 60


def test_a_language_model_is_asked_for_lines_and_others_are_refused(tmp_path: Path, monkeypatch):
    made = []

    class Fake:
        def __init__(self, *asked):
            made.append(asked[-1])
            self.replies = iter(["Chlorine is for pools.", GOOD] * 40)

        def __call__(self, text, rows, rng, token_budget):
            return next(self.replies)

    monkeypatch.setattr(reflection, "Reflection", Fake)
    settings = {"components": ("descriptions",), "reflection_model": "fake/model", "max_metric_calls": 120}
    bundle, _, _ = run(tmp_path, SPLITS, **settings)
    (entry,) = bundle.history
    assert made == ["descriptions"]
    assert entry["n_failed"] > 0
    assert "is no line of descriptions" in (tmp_path / "gepa/proposals.json").read_text()
    assert [one.description for one in bundle.prompt.labels] == [line.split(": ")[1] for line in GOOD.splitlines()]


def test_what_cannot_be_described_is_refused(tmp_path: Path):
    task = Task("t", "Choose.", max_choices=3)
    bundle = replace(toy_bundle(), task=task, prompt=Prompt.for_task(task, FakeEngine().template))
    rows = tuple(replace(row, label="A") for row in SPLITS.dev)
    context = StageContext(tmp_path, RecordingTracker(), lambda weights: FakeEngine(), 0)
    stage = GepaStage(**QUICK, components=("instructions", "descriptions"))
    with pytest.raises(RecipeError, match=r"gepa.components: rows do not share one list of labels"):
        stage.run(bundle, Splits(rows, rows, (), ()), context)
    wordy = replace(toy_bundle(), prompt=replace(toy_bundle().prompt, labels=(Label("pool", "water " * 99),)))
    with pytest.raises(RecipeError, match=r"the descriptions have \d+ tokens to begin with"):
        GepaStage(components=("descriptions",), token_budget=90).run(wordy, SPLITS, context)
    for wrong in ((), ("demos",), ("instructions", "instructions")):
        with pytest.raises(RecipeError, match=r"gepa\.components"):
            GepaStage(components=wrong)
