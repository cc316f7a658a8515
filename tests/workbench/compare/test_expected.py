"""How long transformers are expected to train: by what a row costs them on this machine, as far as that is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import toy_splits, toy_task

from optimizers.training.grpo import GrpoStage
from workbench.compare.expected import _BEGINNING_S, _TRAINING_PASSES, Expected, _training

SPLITS = toy_splits()
N = len(SPLITS.train)
HEAVY = ("encoder-ce", "encoder-lora", "encoder-pairs", "llm-head")


class Candidates:
    """What ``Expected`` asks of a comparison in which nothing but what ``keep`` leaves was run."""

    def __init__(self, root: Path, **settings: dict[str, Any]) -> None:
        self.root, self.task, self.settings = root, toy_task(), settings
        names = ("minilm-logreg", *HEAVY)
        self.recipe = SimpleNamespace(baselines=SimpleNamespace(names=names), model=SimpleNamespace(name="smollm2"))

    def keep(self, name: str, rows_per_second: float) -> None:
        (self.root / name).mkdir()
        (self.root / name / "key.json").write_text(json.dumps({"cost": {"rows_per_second": rows_per_second}}))

    def baseline_settings(self, name: str) -> dict[str, Any]:
        return self.settings.get(name.replace("-", "_"), {})

    def family(self, name: str) -> str:
        return "baselines.embeddings" if name == "minilm-logreg" else "baselines.finetuned"

    def kind(self, name: str) -> str:
        return "baseline"

    def is_baseline(self, name: str) -> bool:
        return True

    def missing(self, name: str) -> list[str]:
        return ["job"]

    def splits_of(self, job: str) -> Any:
        return SPLITS


def expected(candidates: Candidates) -> Expected:
    return Expected(candidates)  # type: ignore[arg-type]


def after_beginning(candidates: Candidates, name: str) -> float:
    found = expected(candidates).candidate(name)
    assert found is not None
    return found - _BEGINNING_S


def test_an_encoders_training_scales_with_its_pass_on_this_machine(tmp_path: Path) -> None:
    for folder, rate in (("fast", 400.0), ("slow", 100.0)):
        (tmp_path / folder).mkdir()
        Candidates(tmp_path / folder).keep("minilm-logreg", rate)
    fast, slow = (Candidates(tmp_path / one) for one in ("fast", "slow"))
    for name, readings in (("encoder-ce", 4 * N), ("encoder-lora", 6 * N), ("encoder-pairs", 4 * N)):
        assert after_beginning(fast, name) == pytest.approx(_TRAINING_PASSES * readings / 400)
        assert after_beginning(slow, name) == pytest.approx(4 * after_beginning(fast, name))
    longer = Candidates(tmp_path / "fast", encoder_ce={"epochs": 8})
    assert after_beginning(longer, "encoder-ce") == pytest.approx(2 * after_beginning(fast, "encoder-ce"))
    other = Candidates(tmp_path / "fast", minilm_logreg={"encoder": "owner/another"})
    assert expected(other).candidate("encoder-ce") != expected(fast).candidate("encoder-ce"), "another encoder's pass"


def test_a_head_on_the_language_model_scales_with_the_language_models_pass(tmp_path: Path) -> None:
    candidates = Candidates(tmp_path)
    known = expected(candidates)
    known.take(0.05)
    assert known.candidate("llm-head") == pytest.approx(_BEGINNING_S + _TRAINING_PASSES * 2 * N * 0.05)
    candidates.keep("untuned", 5.0)
    assert after_beginning(candidates, "llm-head") == pytest.approx(_TRAINING_PASSES * 2 * N / 5)


def test_where_no_pass_is_known_matrices_say_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate, factor in ((100e9, 1.0), (50e9, 2.0)):
        monkeypatch.setattr("workbench.compare.expected.flops", lambda rate=rate: rate)
        assert expected(Candidates(tmp_path)).candidate("encoder-ce") == pytest.approx(factor * (10 + 0.07 * N))


def test_a_training_of_fewer_layers_is_expected_to_be_shorter() -> None:
    """By as much as was measured: a half takes 0.53 of the time of all layers, a third 0.43 (docs/results.md)."""
    whole, half, third = (
        _training(GrpoStage(lora_layers=share, eval_every=100), SimpleNamespace(dev=())) for share in (1.0, 0.5, 0.33)
    )
    assert half / whole == pytest.approx(0.53, abs=0.05)
    assert third / whole == pytest.approx(0.43, abs=0.05)
