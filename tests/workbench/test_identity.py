"""What makes a result stale: code that a rung runs does, other code does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from workbench import identity


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the house, of which files may be changed."""
    for folder in ("labelwright", "programs", "rewards", "optimizers", "baselines", "workbench"):
        shutil.copytree(identity.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    identity.code_version.cache_clear()
    yield tmp_path
    identity.code_version.cache_clear()


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("labelwright/prompt.py", {"baselines", "models"}),
        ("labelwright/predictors/sentence_encoder.py", {"baselines", "models"}),
        ("labelwright/predictors/ngrams.py", {"baselines"}),
        ("baselines/linear.py", {"baselines"}),
        ("optimizers/sft.py", {"models"}),
        ("optimizers/calibrate.py", {"baselines", "models"}),
        ("workbench/rung_process.py", {"baselines", "models"}),
        ("workbench/report.py", set()),
    ],
)
def test_changed_code_makes_stale_what_runs_it(tree: Path, changed: str, stale: set[str]) -> None:
    before = {part: identity.code_version(part) for part in ("baselines", "models")}
    with (tree / changed).open("a") as file:
        file.write("\n# changed\n")
    identity.code_version.cache_clear()
    after = {part: identity.code_version(part) for part in ("baselines", "models")}
    assert {part for part in before if before[part] != after[part]} == stale


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert identity.short_hash({"a": 1, "b": [2]}) == identity.short_hash({"b": [2], "a": 1})
    assert identity.short_hash({"a": 1}) != identity.short_hash({"a": 2})


def test_a_child_takes_its_parents_word_for_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in identity.handed_down().items():
        assert value == identity.code_version(name.rpartition("_")[2].lower())
        monkeypatch.setenv(name, "0123")
    identity.code_version.cache_clear()
    assert identity.code_version("models") == "0123"
    identity.code_version.cache_clear()
