"""Candidates that are made of others, in a whole small comparison: kept, measured, done again, exported."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_comparison import edit_recipe, know_two_ngrams, new_toy_run, opened
from workbench_fakes import _open_fake

from labelwright.bundle.store import load, members_of
from labelwright.data.costs import amount
from labelwright.decide import probabilities
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError
from labelwright.models.weights import Together
from workbench.cli import main
from workbench.compare.jobs import Job
from workbench.compare.kept.reading import read_candidate
from workbench.compare.score import read_test, score_candidates
from workbench.compare.together import job
from workbench.export import Source, export_settings
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.run.folder import RunFolder, runs_of

OFF = "[ensemble]\nmost_members = 0\n[cascade]\nmost_levels = 0\n"
BOTH = "[ensemble]\nn_bags = 3\n[models]\ncandidates = ['untuned']\n[splits]\ndev = 0.2\ncalib = 0.2\n"


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has done nothing: two n-gram models and one that is not installed; whoever there is, is mixed."""
    know_two_ngrams(monkeypatch)
    edit_recipe(OFF, BOTH)
    edit_recipe('names = ["majority", "words", "absent"]', 'names = ["majority", "words", "chars", "absent"]')
    edit_recipe("[compare]\n", "[compare]\nseeds = 2\n")
    edit_recipe('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    return new_toy_run()


def test_they_stand_last_and_are_made_of_who_looks_at_a_row(run):
    found = opened(run)
    members = ("words", "chars", "absent", "untuned")
    assert found.names == ("majority", "words", "chars", "absent", "untuned", "ensemble", "ensemble-light", "cascade")
    assert found.together == {"ensemble": members, "ensemble-light": members[:3], "cascade": members}
    assert {found.kind(name) for name in found.together} == {"together"}
    # The model is trained once, so the whole is too; where all members are repeated, so is what is made of them.
    assert found.jobs("ensemble") == [Job("ensemble", 3, 3)]
    assert found.jobs("ensemble-light") == [
        Job("ensemble-light", 3, 3), Job("ensemble-light", 3, 4), Job("ensemble-light", 4, 3),
    ]  # fmt: skip


def test_what_is_measured_is_what_its_members_left_and_what_ships(run):
    names = ["words", "chars", "ensemble-light"]
    candidates = {one.name: one for one in score_candidates(opened(run), Display(), names=names)}
    light = candidates["ensemble-light"]
    assert not light.failed
    assert light.kind == "together"
    assert {(one.split_seed, one.seed) for one in light.repeats} == {(4, 3), (3, 4)}
    assert light.together is not None
    (level,) = light.together.levels
    assert level.weights == {"words": 0.5, "chars": 0.5}
    assert (level.threshold, level.share) == (None, 1.0)
    assert light.cost["ms_p95"] >= light.cost["ms_p50"] > 0
    assert light.cost["size_bytes"] == sum(candidates[name].cost["size_bytes"] for name in level.weights)
    bundle = load(light.folder)
    assert isinstance(bundle.weights, Together)
    assert [one.weights.base for one in members_of(bundle.weights)] == list(level.weights)
    test = read_test(opened(run).splits_of(Job("words", 3, 3)))
    answered = probabilities(bundle, _open_fake(bundle.weights, EngineSettings()), [row.text for row in test])
    np.testing.assert_allclose(answered, light.probs, atol=1e-9)
    for name in ("words", "chars"):
        with np.load(opened(run).place(Job(name, 3, 4)).with_suffix(".npz")) as kept:
            assert {"dev", "calib", "probs"} <= set(kept)


def test_a_member_that_comes_to_run_makes_them_anew(run):
    names = ["words", "chars", "untuned", "ensemble"]
    score_candidates(opened(run), Display(), names=names, left_out={"chars": "no time for it"})
    main_job = opened(run).jobs("ensemble")[0]
    assert set(opened(run).result(main_job)["members"]) == {"words", "untuned"}
    assert "ensemble" not in opened(run).unfinished()
    score_candidates(opened(run), Display(), names=["chars"])
    assert "ensemble" in opened(run).unfinished()


def test_a_member_that_is_measured_again_makes_them_anew(run):
    names = ["words", "chars", "ensemble-light"]
    score_candidates(opened(run), Display(), names=names)
    assert "ensemble-light" not in opened(run).unfinished()
    found = opened(run)
    path = found.place(found.jobs("chars")[0]).with_suffix(".json")
    result = json.loads(path.read_text())
    result["cost"]["ms_p50"] += 1
    path.write_text(json.dumps(result))
    assert "ensemble-light" in opened(run).unfinished()


def test_a_member_that_changes_makes_them_stale(run, monkeypatch):
    before, after = opened(run), opened(run)
    monkeypatch.setattr(after, "baseline_settings", lambda name: {"alpha": 1e-3} if name == "chars" else {})
    ensemble, words = (before.jobs(name)[0] for name in ("ensemble-light", "words"))
    assert before.key(ensemble) != after.key(ensemble)
    assert before.key(words) == after.key(words)


def test_alone_nobody_is_together(run):
    score_candidates(opened(run), Display(), names=["words", "ensemble-light"])
    failed = read_candidate(opened(run), "ensemble-light").failed
    assert failed == "ensemble-light needs two candidates that ran, of those it may be made of: words did"
    assert "ensemble-light" not in opened(run).unfinished()
    # Once another one is there it is tried again, though that it failed was lasting.
    score_candidates(opened(run), Display(), names=["chars"])
    assert "ensemble-light" in opened(run).unfinished()


def test_it_is_reported_exported_and_checked(run):
    with Path("toy.toml").open("a") as recipe:
        recipe.write("[money]\nhour = 1000.0\nperson = 300.0\n")
    assert main(["compare", "toy.toml"]) == 0
    assert main(["export", "toy.toml", "--candidate", "ensemble-light"]) == 0
    (path,) = runs_of(Path("runs/toy"))
    report = json.loads((path / "report.json").read_text())
    assert report["verdict"]["gain"]["together"] in ("ensemble", "ensemble-light", "cascade")
    assert "Several together (" in (path / "report.md").read_text()
    assert "## Several together" in (path / "report.md").read_text()
    bundle = load(path / "bundle")
    assert bundle.weights.base == "ensemble-light"
    written = json.loads((path / "bundle" / "bundle.json").read_text())
    assert written["n_golden"] == 4
    # What the report says that it costs, the card says too; another price is another export.
    spent = report["money"]["ensemble-light"]
    assert written["money"] == {"rows": 1000.0, "answered": spent, "person": 300.0}
    assert f"1,000 texts cost {amount(spent)}, " in (path / "bundle" / "README.md").read_text()
    assert f"| {amount(spent)} |" in (path / "report.md").read_text()
    session = SimpleNamespace(recipe=read_recipe("toy.toml"))
    made = [export_settings(session, Source("", path / "bundle", None, one)) for one in ({}, written["money"])]
    assert made[0] != made[1]


def test_a_cascade_ends_in_the_ensemble_of_the_recipe_or_in_none(run, monkeypatch):
    """Where [ensemble] may have two of three, so may a cascade's last level."""
    edit_recipe("n_bags = 3", 'n_bags = 3\nmembers = ["words", "untuned"]')
    mixed_of = []
    real = job.mixed
    monkeypatch.setattr(job, "mixed", lambda kept, *rest: mixed_of.append(set(kept)) or real(kept, *rest))
    score_candidates(opened(run), Display(), names=["words", "chars", "untuned", "cascade"])
    assert mixed_of == [{"words", "untuned"}]


@pytest.mark.parametrize(("n_others", "refused"), [(4, False), (5, True)])
def test_rows_next_to_a_threshold_may_differ_and_no_more(n_others, refused, monkeypatch):
    probs = np.full((41, 2), 0.5)
    asked = np.concatenate([probs[:40], probs[:1]])
    asked[:n_others] = [0.9, 0.1]
    trained = SimpleNamespace(bundle=SimpleNamespace(weights=Together("cascade", Path())), seconds=0.0)
    monkeypatch.setattr(job.measure, "one_by_one", lambda *given: ({}, asked))
    with pytest.raises(BundleError, match="answer otherwise") if refused else nullcontext():
        job._cost(trained, ["x"] * 41, probs, 40)


def test_a_member_that_there_is_not_and_a_cascade_of_one_level_are_refused(workspace):
    edit_recipe(OFF, '[ensemble]\nmembers = ["wrods"]\n[cascade]\nmost_levels = 1\n')
    with pytest.raises(Exception, match="most_levels = 1: expected 2 or more, or 0 to leave the cascade out"):
        read_recipe("toy.toml")
    edit_recipe("most_levels = 1", "most_levels = 2")
    edit_recipe('["wrods"]', '["wrods"]\nmost_members = 1')
    with pytest.raises(Exception, match="most_members = 1: expected 2 or more, or 0 to leave the ensemble out"):
        read_recipe("toy.toml")
    edit_recipe("\nmost_members = 1", "")
    with pytest.raises(Exception, match=r"\[ensemble\].*unknown candidate .wrods.; did you mean .words."):
        read_recipe("toy.toml")
