"""The comparison: which jobs a recipe asks for, that each is kept under what made it, and that a failure is one row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import workbench_fakes
from fakes import FakeEngine

from labelwright.data.task import by_label
from labelwright.engines.one_hot import one_hot
from labelwright.errors import RecipeError
from labelwright.files import write_json
from labelwright.statistics import calibration
from labelwright.statistics.metrics import answers
from workbench.cli import main
from workbench.compare import jobs
from workbench.compare import score as compare
from workbench.compare.jobs import Comparison, Job, fewer_rows, open_comparison, shortened
from workbench.compare.processes.pool import Processes
from workbench.compare.processes.worker import run_jobs
from workbench.compare.score import score_candidates, signature
from workbench.compare.together.candidates import made_of
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.recipe.stages import read_pipeline
from workbench.run.choose import new_run
from workbench.run.folder import RunBusyError, RunFolder, locked, runs_of

MODELS = """
[models]
candidates = ["free", "untuned", "sft", "sft+grpo", "sft@code"]
"""


def change(old: str, new: str) -> None:
    recipe = Path("toy.toml")
    assert old in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(old, new))


@pytest.fixture
def run(workspace: Path) -> RunFolder:
    """A run of the toy recipe, with candidates of the model, that has done nothing yet."""
    change("[compare]\n", MODELS + '[compare]\nseeds = 2\ncurves = ["words", "sft", "untuned"]\ncurve_rows = [1, 4]\n')
    recipe = read_recipe("toy.toml")
    return new_run(recipe, read_rows(recipe), Display())


def comparison(run: RunFolder) -> Comparison:
    return open_comparison(Path("toy.toml"), run.path)


def kept_steps(run: RunFolder) -> list[Path]:
    return sorted(path.parent for path in comparison(run).pipelines.root.glob("*/done.json"))


def scored(run: RunFolder) -> dict[str, object]:
    return {candidate.name: candidate for candidate in score_candidates(comparison(run), Display())}


def test_candidates_are_in_their_order(run: RunFolder) -> None:
    names = ["majority", "words", "absent", "free", "untuned", "sft", "sft+grpo", "sft@code"]
    assert list(comparison(run).names) == names


def test_jobs_are_seeds_splits_and_shares_of_the_rows(run: RunFolder) -> None:
    found = comparison(run)
    assert found.jobs("words") == [
        Job("words", 3, 3),
        Job("words", 3, 4),
        Job("words", 4, 3),
        *(Job("words", seed, 3, rows) for rows in (1, 4) for seed in (3, 4)),
    ]
    assert found.jobs("sft") == [Job("sft", 3, 3), Job("sft", 3, 3, 1), Job("sft", 3, 3, 4)]
    assert found.jobs("free") == [Job("free", 3, 3)]
    # Nothing is learnt, so neither seeds nor fewer rows make a difference.
    assert found.jobs("untuned") == [Job("untuned", 3, 3)]


def test_every_candidate_has_probabilities_a_price_and_its_repeats(run: RunFolder) -> None:
    change("generate_rows = 6", "generate_rows = 6\nsteering_rows = 5")
    candidates = scored(run)
    n_test = len(compare.read_test(comparison(run).splits_of(Job("words", 3, 3))))
    for name, candidate in candidates.items():
        if name == "absent":
            assert "absent needs a package" in candidate.failed
            continue
        n_columns = 4 if name == "free" else 3
        assert candidate.raw.shape == candidate.probs.shape == (n_test, n_columns), name
        assert candidate.probs.sum(axis=1) == pytest.approx(1)
        assert candidate.cost["ms_p95"] >= candidate.cost["ms_p50"] > 0, name
        assert candidate.cost["peak_memory_bytes"] > 1e6
        assert candidate.steering.get("n_rows") == (None if name == "free" else 5), name
    # One answers always the same; the fake engine counts the label names in a row.
    assert candidates["majority"].steering["all"] == 0 < candidates["untuned"].steering["all"]
    assert [(one.split_seed, one.seed) for one in candidates["words"].repeats] == [(4, 3), (3, 4)]
    assert candidates["words"].scores.keys() == candidates["words"].repeats[0].scores.keys()
    assert candidates["free"].scores.keys() == {"accuracy"}
    assert {(one.per_label, one.seed) for one in candidates["words"].curve} == {
        (1, 3), (1, 4), (4, 3), (4, 4), (0, 3), (0, 4),
    }  # fmt: skip
    assert [one.per_label for one in candidates["untuned"].curve] == [0]
    assert {one.n_rows for one in candidates["words"].curve if one.per_label == 4} == {12}


def test_calibration_keeps_groups_on_one_side_of_every_fold(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies in a group, shown to the fit that is tried on them, would choose what repeats them."""
    seen: list[tuple[int, int]] = []
    real = calibration.group_folds

    def folds(gold: np.ndarray, groups: list[str] | None, *rest: int) -> np.ndarray:
        assert groups is not None, "the rows' groups did not reach the folds"
        seen.append((len(set(groups)), len(groups)))
        return real(gold, groups, *rest)

    monkeypatch.setattr(calibration, "group_folds", folds)
    found = comparison(run)
    run_jobs(found, found.missing("majority"), lambda *progress: None, print)
    calib = found.splits_of(found.jobs("majority")[0]).calib
    assert (len({row.group for row in calib}), len(calib)) in seen
    assert all(n_groups < n_rows for n_groups, n_rows in seen)


def test_stages_before_are_shared_and_what_is_tuned_on_is_what_is_asked(run: RunFolder) -> None:
    candidates = scored(run)
    steps = sorted(path.name.split("-")[0] for path in kept_steps(run))
    # sft on all rows once for two candidates, on fewer rows twice, with codes once; grpo on top of it once.
    assert steps == ["grpo", "sft", "sft", "sft", "sft"]
    assert np.argmax(candidates["sft"].raw, axis=1).tolist() != np.argmax(candidates["untuned"].raw, axis=1).tolist()
    assert candidates["sft+grpo"].cost["seconds_to_train"] >= candidates["sft"].cost["seconds_to_train"]


def test_free_answers_that_are_no_label_have_a_column(run: RunFolder) -> None:
    free = scored(run)["free"]
    no_label = free.probs[:, -1] == 1
    assert free.generation["valid"] == pytest.approx(1 - no_label.mean())
    assert 0 < no_label.mean() < 1
    assert set(np.unique(free.probs)) == {0, 1}


def test_one_more_candidate_is_one_more_process(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    real = workbench_fakes.run_candidate_here
    monkeypatch.setattr(
        "workbench.compare.processes.pool.Processes.run",
        lambda self, jobs, *rest: begun.append(jobs[0].candidate) or real(self, jobs, *rest),
    )
    scored(run)
    assert begun == list(comparison(run).names)
    begun.clear()
    scored(run)
    assert begun == [], "a failure is remembered as well as a result"
    change('"sft@code"', '"sft@code", "grpo"')
    scored(run)
    assert begun == ["grpo"]
    begun.clear()
    change("bootstrap = 200", "bootstrap = 300")
    scored(run)
    assert begun == []


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ('"absent"]', '"absent"]\n[baselines.settings.words]\nalpha = 1e-3', {"words"}),
        (
            "latency_rows = 2",
            "latency_rows = 3",
            {"majority", "words", "free", "untuned", "sft", "sft+grpo", "sft@code"},
        ),
        ("[export]", "[sft]\nsteps = 3\n[export]", {"sft", "sft+grpo", "sft@code"}),
        (
            "generate_rows = 6",
            "generate_rows = 6\nsteering_rows = 5",
            {"majority", "words", "untuned", "sft", "sft+grpo", "sft@code"},
        ),
    ],
)
def test_what_is_changed_is_done_again_and_nothing_else(run: RunFolder, old: str, new: str, stale: set[str]) -> None:
    scored(run)
    before = signature(comparison(run))
    change(old, new)
    found = comparison(run)
    assert {name for name in found.names if found.missing(name)} - {"absent"} == stale
    assert signature(found) != before


def test_other_endings_make_stale_where_rows_are_asked_with_them(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str:
        return comparison(run).key(Job("words", 3, 3))

    plain = key()
    change("generate_rows = 6", "generate_rows = 6\nsteering_rows = 5")
    asked = key()
    real = jobs.measured_code
    monkeypatch.setattr(jobs, "measured_code", lambda module: real(module) + ("!" if "endings" in module else ""))
    assert key() != asked
    change("generate_rows = 6\nsteering_rows = 5", "generate_rows = 6")
    assert key() == plain


def test_a_candidate_that_breaks_is_a_row_that_says_so(run: RunFolder) -> None:
    change('"absent"]', '"broken"]')
    candidates = scored(run)
    assert candidates["broken"].failed == "no candidate is so broken"
    assert not candidates["words"].failed


def test_a_forgotten_candidate_runs_again(run: RunFolder) -> None:
    scored(run)
    found = comparison(run)
    n_steps = len(kept_steps(run))
    found.forget("words")
    found.forget("sft+grpo")
    assert len(found.missing("words")) == len(found.jobs("words"))
    assert not found.missing("sft")
    # Its grpo is trained again; the sft before it is another candidate's as well.
    assert len(kept_steps(run)) == n_steps - 1
    found.forget("sft")
    # Those of its learning curve, too: old weights under a new result would be no training.
    assert len(kept_steps(run)) == n_steps - 1 - len(found.jobs("sft"))


def test_fewer_rows_are_among_more_rows_and_keep_their_order(run: RunFolder) -> None:
    rows = comparison(run).splits_of(Job("words", 3, 3)).train
    two, five = fewer_rows(rows, 2, seed=0), fewer_rows(rows, 5, seed=0)
    assert {row.id for row in two} < {row.id for row in five}
    assert {len(same) for same in by_label(two).values()} == {2}
    assert list(five) == [row for row in rows if row in five]
    assert fewer_rows(rows, 2, seed=1) != two


@pytest.mark.parametrize("name", ["untuned", "free@code", "sft@letter", "sft", "gepa+grpo@name"])
def test_a_pipelines_name_reads_back(name: str) -> None:
    assert read_pipeline(name).name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("magic", "no stage 'magic'"),
        ("sft@emoji", "expected @name, @code or @letter behind it"),
        ("sft+calibrate", "calibrated by the comparison"),
    ],
)
def test_a_pipeline_that_cannot_be_is_refused(name: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read_pipeline(name)


def test_what_a_run_did_its_comparison_finds(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in ("optimize", "train", "calibrate"):
        assert main([verb, "toy.toml"]) == 0
    (path,) = runs_of(workspace / "runs" / "toy")
    found = comparison(RunFolder(path))
    assert list(found.names) == ["majority", "words", "absent", "untuned", "gepa", "gepa+grpo"]
    before = kept_steps(RunFolder(path))
    monkeypatch.setattr("workbench_fakes.FakeGepa.run", None)
    monkeypatch.setattr("workbench_fakes.FakeGrpo.run", None)
    steps = {candidate.name: candidate.step for candidate in score_candidates(found, Display())}
    assert [steps[name] for name in ("untuned", "gepa", "gepa+grpo")] == ["0-untuned", "1-gepa", "2-grpo"]
    assert kept_steps(RunFolder(path)) == before, "what the run has done is not done again"


def test_what_a_comparison_did_the_run_finds(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change("[compare]\n", '[models]\ncandidates = ["gepa+grpo"]\n[compare]\n')
    assert main(["compare", "toy.toml"]) == 0
    (path,) = runs_of(workspace / "runs" / "toy")
    before = {step: (step / "bundle" / "bundle.json").stat().st_mtime_ns for step in kept_steps(RunFolder(path))}
    capsys.readouterr()
    for verb, folder in (("optimize", "1-gepa"), ("train", "2-grpo")):
        assert main([verb, "toy.toml", f"--run={path.name}"]) == 0
        assert f"{folder}: done already" in capsys.readouterr().out
    assert all((step / "bundle" / "bundle.json").stat().st_mtime_ns == when for step, when in before.items())
    assert {(path / folder).resolve() for folder in ("1-gepa", "2-grpo")} <= {step.resolve() for step in before}


def test_what_was_measured_of_another_bundle_is_measured_again(run: RunFolder) -> None:
    scored(run)
    found = comparison(run)
    (sft,) = found.steps(found.jobs("sft")[0])
    done = sft.folder / "done.json"
    # As a stage that is run again and asks a hosted model may leave it; what was built on it is dropped with it.
    write_json(done, {**json.loads(done.read_text()), "bundle": "another"})
    assert {name for name in found.names if found.missing(name)} == {"absent", "sft", "sft+grpo"}
    shutil.rmtree(found.pipelines.root)
    assert not found.missing("sft"), "a step that is gone says nothing against what was measured"


def test_who_is_refused_forgets_nothing(run: RunFolder) -> None:
    scored(run)
    found = comparison(run)
    with locked(found.root), pytest.raises(RunBusyError):
        score_candidates(found, Display(), forget=found.names)
    assert not found.missing("words")


def test_two_pipelines_do_not_train_one_step_at_once(run: RunFolder) -> None:
    found = comparison(run)
    job = found.jobs("sft")[0]
    (step,) = found.steps(job)
    step.folder.mkdir(parents=True)
    with locked(step.folder), pytest.raises(RunBusyError, match="is in use by process"):
        run_jobs(found, found.missing("sft"), lambda *progress: None, print)


def test_what_a_stage_reports_comes_while_it_runs(run: RunFolder) -> None:
    found, heard = comparison(run), []
    done = found.steps(found.jobs("sft")[0])[0].folder / "done.json"
    run_jobs(found, found.missing("sft"), lambda *progress: None, lambda entry: heard.append((entry, done.exists())))
    entries = [entry for entry, after in heard if not after and entry["run"] == done.parent.name]
    assert [entry["op"] for entry in entries[:3]] == ["run", "status", "params"]
    assert entries[0]["name"] == "sft"
    points = [point for entry in entries if entry["op"] == "metrics" for point in entry["points"]]
    assert [(value, step) for name, value, _, step in points if name == "reward"] == [(0.1, 1), (0.2, 2)]
    last = heard[-1][0]
    assert (last["op"], last["status"]) == ("status", "FINISHED")


def test_two_comparisons_do_not_work_on_the_same_candidates(run: RunFolder) -> None:
    found = comparison(run)
    found.root.mkdir(parents=True)
    with locked(found.root), pytest.raises(RunBusyError, match="is in use by process"):
        score_candidates(found, Display())


def test_rows_to_which_a_server_says_nothing_usable_are_wrong_and_counted(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those for which the first label would have been right."""

    class Mute(FakeEngine):
        has_probabilities = False

        def score(self, prompts, options):
            winners = super().score(prompts, options).argmax(axis=1)
            return one_hot(np.where(["broke" in prompt.user for prompt in prompts], -1, winners), len(options))

    monkeypatch.setattr("workbench.run.engines.open_engine", lambda weights, settings: Mute())
    found = comparison(run)
    job = Job("untuned", 3, 3)
    processes = Processes(Path("toy.toml"), run.path)
    workbench_fakes.run_candidate_here(processes, [job], "", run.path / "log", lambda *_: None, print)
    test = compare.read_test(found.splits_of(job))
    silent = np.array(["broke" in row.text for row in test])
    assert any(row.label == found.task.names[0] for row, one in zip(test, silent, strict=True) if one)
    with np.load(found.place(job).with_suffix(".npz")) as kept:
        for which in ("raw", "probs"):
            assert ((answers(kept[which]) < 0) == silent).all()
        right = answers(kept["probs"]) == [found.task.names.index(row.label) for row in test]
    result = found.result(job)
    assert result["cost"]["n_invalid"] == silent.sum() > 0
    assert result["scores"]["accuracy"] == pytest.approx(right.mean())


def test_a_demo_makes_nothing_of_several_together() -> None:
    """Its processes read the whole recipe, in which there is more to be made of."""
    recipe = read_recipe(Path(__file__).parents[3] / "runs" / "homeowner.toml")
    assert recipe.ensemble.most_members
    assert recipe.cascade.most_levels
    short = shortened(recipe)
    assert short.baselines.names
    assert made_of(short, short.baselines.names, lambda name: False) == {}
