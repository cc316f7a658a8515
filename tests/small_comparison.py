"""A comparison over the fakes' rows and two n-gram models, of which a mean takes whoever there is."""

from __future__ import annotations

from pathlib import Path

import pytest

import baselines
from labelwright.engines.together.plan import Level, Plan
from workbench.compare.jobs import Comparison, open_comparison
from workbench.compare.together import choosing
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.run.choose import new_run
from workbench.run.folder import RunFolder


def edit_recipe(old: str, new: str) -> None:
    """Change what ``toy.toml`` says; it must say it."""
    path = Path("toy.toml")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def know_two_ngrams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the fakes' ``words`` there is ``chars``, which may learn probabilities; a mean is of all alike."""
    chars = baselines.Baseline("baselines.linear", "sgd_chars", "characters", learns_soft=True)
    monkeypatch.setattr(baselines, "BASELINES", {**baselines.BASELINES, "chars": chars})
    monkeypatch.setattr(choosing, "choose_ensemble", lambda dev, *rest: (tuple(dev), Plan((Level((1.0,) * len(dev)),))))


def new_toy_run() -> RunFolder:
    """A run of ``toy.toml`` that has done nothing."""
    recipe = read_recipe("toy.toml")
    return new_run(recipe, read_rows(recipe), Display())


def opened(run: RunFolder) -> Comparison:
    """Its comparison, read anew."""
    return open_comparison(Path("toy.toml"), run.path)
