"""A row of dev or calib is answered once for a bundle, whoever needs it, and the answers are those of that bundle."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeEngine

from labelwright.bundle.store import load, read_reference
from labelwright.decide import probabilities
from labelwright.files import folder_digest
from labelwright.models.weights import is_language_model
from labelwright.watch.making import make_reference
from workbench.cli import main
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.recipe.splits import read_splits
from workbench.run import engines
from workbench.run.folder import runs_of


@pytest.fixture
def asked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str, str]]:
    """How often which weights with which instructions were asked about which text."""
    count: Counter[tuple[str, str, str]] = Counter()

    class Counting(FakeEngine):
        def __init__(self, weights: str) -> None:
            super().__init__()
            self.weights = weights

        def score(self, prompts, options):
            count.update((self.weights, prompt.system, prompt.user) for prompt in prompts)
            return super().score(prompts, options)

    real = engines.open_engine

    def open_engine(weights, settings):
        if not is_language_model(weights):
            return real(weights, settings)
        return Counting(folder_digest(weights.folder) if weights.folder else "")

    monkeypatch.setattr(engines, "open_engine", open_engine)
    return count


def test_a_demo_asks_each_row_once_for_a_bundle(workspace: Path, asked: Counter[tuple[str, str, str]]) -> None:
    assert main(["demo", "toy.toml"]) == 0
    bundles = {key[:2] for key in asked}
    assert len(bundles) == 3, "untuned, after GEPA, after GRPO"
    (run,) = runs_of(workspace / "runs" / "toy")
    golden = {json.loads(line)["text"] for line in (run / "bundle" / "golden.jsonl").read_text().splitlines()}
    recipe = read_recipe(Path("toy.toml"))
    splits = read_splits(run / "splits.json", read_rows(recipe))
    for rows in (splits.dev, splits.calib):
        # Golden rows are asked again on purpose, to see that what was written answers as it did.
        texts = {row.text for row in rows} - golden
        assert len(texts) >= 6
        for bundle in bundles:
            assert {asked[(*bundle, text)] for text in texts} == {1}
    # What was not asked again is what asking would have said.
    texts = [row.text for row in splits.dev]
    results = list((run.parent / "candidates").glob("gepa*/*.npz"))
    assert len(results) == 2
    for path in results:
        with np.load(path) as arrays:
            np.testing.assert_array_equal(arrays["dev"], probabilities(load(path.with_suffix("")), FakeEngine(), texts))
    shipped = load(run / "bundle")
    made = make_reference(shipped, FakeEngine(), splits.train, splits.dev, recipe.export.watch_rows)
    kept = read_reference(run / "bundle", shipped)
    assert kept is not None
    assert {name: counts.tolist() for name, counts in kept.counts.items()} == {
        name: counts.tolist() for name, counts in made.counts.items()
    }
    assert (kept.n_rows, kept.n_right) == (made.n_rows, made.n_right)
