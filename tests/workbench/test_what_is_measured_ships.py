"""One calibration a candidate: what the comparison measured, the export's bundle, its card and its golden rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import workbench_fakes
from fakes import FakeEngine
from small_comparison import opened

from labelwright.bundle.store import load, read_reference
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, group_keys
from labelwright.decide import log_scores, probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.models.weights import Predictor
from labelwright.statistics.calibration import Calibration
from optimizers.calibrate import CalibrateStage, calibration_record
from workbench.cli import main
from workbench.compare.kept.reading import read_candidate
from workbench.compare.score import read_test
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.recipe.splits import read_splits
from workbench.run.folder import RunFolder, runs_of

CANDIDATES = ["majority", "words", "untuned", "gepa", "prior"]


def write_recipe(folder: Path, stages: str, calibrate: str = "") -> None:
    path = workbench_fakes.write_workspace(folder)
    text = path.read_text().replace('stages = ["gepa", "grpo", "calibrate"]', f"stages = {stages}")
    text = text.replace('"words", "absent"]', '"words"]').replace("[compare]", "[compare]\nseeds = 1")
    path.write_text(f'{text}{calibrate}\n[models]\ncandidates = ["prior"]\n')


@pytest.fixture(scope="module", params=['["gepa"]', '["gepa", "calibrate"]'], ids=["compared", "calibrated step"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A finished demo, whose recipe calibrates in a way of its own; the current folder is its workspace."""
    folder = tmp_path_factory.mktemp("measured")
    write_recipe(folder, request.param, "[calibrate]\npenalties = [0.02, 0.5]\nn_folds = 3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        workbench_fakes.install(patch.setattr)
        workbench_fakes.without_tracking(patch.setattr)
        workbench_fakes.without_plots(patch.setattr)
        stages = {"gepa": ("workbench_fakes", "FakeGepa"), "prior": ("optimizers.prior", "PriorStage")}
        patch.setattr("workbench.recipe.stages.STAGES", {**stages, "calibrate": ("workbench_fakes", "FakeCalibrate")})
        assert main(["demo", "toy.toml"]) == 0
        assert main(["compare", "toy.toml"]) == 0
        (path,) = runs_of(folder / "runs" / "toy")
        yield RunFolder(path)


def engine_of(bundle: Bundle) -> Engine:
    return FakeEngine() if not isinstance(bundle.weights, Predictor) else open_engine(bundle.weights)


def rows_of(run: RunFolder, side: str) -> tuple[Example, ...]:
    splits = read_splits(run.path / "splits.json", read_rows(read_recipe("toy.toml")))
    return read_test(splits) if side == "test" else getattr(splits, side)


def check_bundle(run: RunFolder, candidate: str) -> None:
    """The exported bundle answers, says and records what the comparison found of a candidate."""
    measured = read_candidate(opened(run), candidate)
    bundle = load(run.path / "bundle")
    texts = [row.text for row in rows_of(run, "test")]
    assert (probabilities(bundle, engine_of(bundle), texts) == measured.probs).all()
    assert bundle == load(measured.folder) or bundle.weights != load(measured.folder).weights
    assert bundle.calibration == load(measured.folder).calibration
    (reported,) = (
        one for one in json.loads((run.path / "report.json").read_text())["candidates"] if one["name"] == candidate
    )
    assert json.loads((run.path / "bundle" / "bundle.json").read_text())["test"] == reported["test"]
    assert reported["calibration"]["temperature"] == bundle.calibration.temperature
    assert f"{reported['test']['log_loss']['value']:.3f}" in (run.path / "bundle" / "README.md").read_text()
    golden = [json.loads(line) for line in (run.path / "bundle" / "golden.jsonl").read_text().splitlines()]
    again = probabilities(bundle, engine_of(bundle), [row["text"] for row in golden])
    assert np.array([row["probabilities"] for row in golden]) == pytest.approx(again, abs=1e-12)
    rows = rows_of(run, "dev")
    dev = list(dict(zip(group_keys(rows), rows, strict=True)).values())
    said = probabilities(bundle, engine_of(bundle), [row.text for row in dev]).argmax(axis=1)
    reference = read_reference(run.path / "bundle", bundle)
    assert reference is not None
    assert reference.counts["labels"].tolist() == [*np.bincount(said, minlength=len(bundle.task.names)), 0]
    assert reference.n_right == sum(bundle.task.names[k] == row.label for k, row in zip(said, dev, strict=True))


def test_what_the_demo_exports_is_what_was_measured(run: RunFolder) -> None:
    assert main(["export", "toy.toml"]) == 0
    check_bundle(run, "gepa")


def test_every_candidate_ships_as_it_was_measured(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError("an export fits nothing")

    monkeypatch.setattr(CalibrateStage, "calibrated", refuse)
    monkeypatch.setattr("optimizers.calibrate.best_calibration", refuse)
    for candidate in CANDIDATES:
        assert main(["export", "toy.toml", "--candidate", candidate]) == 0
        check_bundle(run, candidate)


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_a_candidates_calibration_is_that_of_the_recipe_on_calib_rows(run: RunFolder, candidate: str) -> None:
    found = opened(run)
    bundle = load(read_candidate(found, candidate).folder)
    engine, calib = engine_of(bundle), rows_of(run, "calib")
    assert CalibrateStage(penalties=(0.02, 0.5), n_folds=3) == replace(CalibrateStage(), **vars(found.calibration()))
    stage = CalibrateStage(penalties=(0.02, 0.5), n_folds=3)
    again = stage.calibrated(
        bundle, calib, lambda asked: log_scores(asked, engine, [row.text for row in calib]), seed=3
    ).bundle
    assert again.calibration == bundle.calibration
    made = next(entry for entry in reversed(bundle.history) if entry["stage"] == "calibrate")
    assert (made["n_rows"], made["n_groups"]) == (len(calib), len(set(group_keys(calib))))
    assert made == json.loads(json.dumps(again.history[-1]))


def test_a_run_that_calibrates_and_one_that_is_compared_end_alike(run: RunFolder) -> None:
    """The step of the run and the candidate beside it have one calibration, whoever asked for it."""
    step = run.done_steps()[-1]
    bundle = load(run.bundle_path(step))
    measured = load(read_candidate(opened(run), "gepa").folder)
    if step["stage"] == "calibrate":
        assert bundle.calibration == measured.calibration
        assert calibration_record(bundle) == read_candidate(opened(run), "gepa").calibration
    else:
        assert bundle.calibration == Calibration()
        assert measured.calibration != Calibration()


def test_a_label_prior_stays_under_the_calibration(run: RunFolder) -> None:
    prior, untuned = (load(read_candidate(opened(run), name).folder) for name in ("prior", "untuned"))
    made = next(entry for entry in prior.history if entry["stage"] == "calibrate")
    assert prior.history[0]["kept"] is True
    assert any(made["base"]["bias"])
    assert prior.calibration != untuned.calibration


def test_other_calibration_settings_are_another_result(run: RunFolder, tmp_path: Path) -> None:
    found = opened(run)
    recipe = Path("toy.toml")
    kept = recipe.read_text()
    try:
        for old, new in [("penalties = [0.02, 0.5]", "penalties = [0.1]"), ("n_folds = 3", "n_folds = 4")]:
            assert old in kept
            recipe.write_text(kept.replace(old, new))
            other = opened(run)
            assert {name for name in other.names if other.missing(name)} == set(found.names)
    finally:
        recipe.write_text(kept)
    assert not opened(run).unfinished()


def test_a_card_has_no_numbers_of_another_bundle(run: RunFolder) -> None:
    """The candidate changed after the report; or the report is half written; or it speaks of other settings."""
    (run.path / "report.json").write_text((run.path / "report.json").read_text() + " ")
    assert main(["export", "toy.toml", "--candidate", "words"]) == 2
    assert main(["export", "toy.toml"]) == 0
    assert "test" not in json.loads((run.path / "bundle" / "bundle.json").read_text())
    assert main(["compare", "toy.toml"]) == 0
    assert main(["export", "toy.toml"]) == 0
    check_bundle(run, "gepa")
