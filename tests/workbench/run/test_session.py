"""Interrupted and repeated work: which run a verb takes, and that a killed run ends with the same files."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labelwright.files import folder_digest, write_json
from workbench.cli import main
from workbench.recipe import stages as recipe_stages
from workbench.run.folder import Clock, RunBusyError, RunFolder, append_curve, read_curves, runs_of

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def the_runs(folder: Path) -> list[Path]:
    return runs_of(folder / "runs" / "toy")


def results(run: Path) -> dict[str, str]:
    """What must be the same however often the run was interrupted: every bundle, the splits, the test rows."""
    kept = [path / "bundle" for path in run.iterdir() if (path / "bundle").is_dir()]
    bundles = {str(path.relative_to(run)): folder_digest(path) for path in [*kept, run / "bundle"] if path.is_dir()}
    files = {name: (run / name).read_text() for name in ("splits.json", "rows.jsonl")}
    return {**bundles, **files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import workbench_fakes

    folder = tmp_path_factory.mktemp("undisturbed")
    workbench_fakes.write_workspace(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        workbench_fakes.install(patch.setattr)
        workbench_fakes.without_tracking(patch.setattr)
        workbench_fakes.without_plots(patch.setattr)
        assert main(["demo", "toy.toml"]) == 0
    return results(the_runs(folder)[0])


def test_a_killed_demo_continues_and_ends_the_same(
    tmp_path: Path, command: Command, undisturbed: dict[str, str]
) -> None:
    for kill in ("gepa:2", "grpo:4", "bundle"):
        killed = command("demo", "toy.toml", kill=kill)
        assert killed.returncode == 9, killed.stderr
    ended = command("demo", "toy.toml")
    assert ended.returncode == 0, ended.stderr
    assert "continuing run" in ended.stdout
    (run,) = the_runs(tmp_path)
    assert results(run) == undisturbed
    for folder, n_steps in [("1-gepa", 3), ("2-grpo", 5)]:
        steps = (run / folder / "work" / "steps-run.txt").read_text().split()
        assert steps == [str(step + 1) for step in range(n_steps)], "a step was done again, or left out"


def test_optimize_then_train_then_the_rest_continue_one_run(
    workspace: Path, undisturbed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("optimize", "train", "calibrate", "compare", "export"):
        assert main([verb, "toy.toml"]) == 0
    (run,) = the_runs(workspace)
    assert results(run) == undisturbed
    capsys.readouterr()
    for verb, where in [("train", "2-grpo/bundle"), ("compare", "report.html"), ("export", f"{run.name}/bundle")]:
        assert main([verb, "toy.toml"]) == 0
        said = capsys.readouterr().out
        assert "is done" in said
        assert where in said
        assert "--force" in said
    assert results(run) == undisturbed


def test_a_promise_that_cannot_be_kept_is_told_when_it_is_made(workspace: Path, capsys) -> None:
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text() + "[calibrate]\nabstain = true\n")
    assert main(["calibrate", "toy.toml"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "abstain = true, so no row will get a label: at most 5 % of the answered rows wrong" in said


def test_force_does_a_step_again_and_drops_what_was_built_on_it(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("optimize", "train", "calibrate"):
        main([verb, "toy.toml"])
    assert main(["train", "toy.toml", "--force"]) == 0
    assert "dropping 2-grpo, 3-calibrate" in capsys.readouterr().out
    (run,) = the_runs(workspace)
    assert [step["folder"] for step in RunFolder(run).steps] == ["0-untuned", "1-gepa", "2-grpo"]
    assert not (run / "3-calibrate").exists()


def test_train_without_a_run_begins_from_the_untuned_model(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "toy.toml"]) == 0
    assert "no run of toy yet" in capsys.readouterr().out
    (run,) = the_runs(workspace)
    assert [step["folder"] for step in RunFolder(run).steps] == ["0-untuned", "1-grpo"]


def test_train_finishes_an_interrupted_optimize_first(tmp_path: Path, command: Command) -> None:
    assert command("optimize", "toy.toml", kill="gepa:2").returncode == 9
    done = command("train", "toy.toml")
    assert done.returncode == 0, done.stderr
    assert "1-gepa, which was interrupted" in done.stdout
    (run,) = the_runs(tmp_path)
    assert [(step["folder"], step["done"]) for step in RunFolder(run).steps] == [
        ("0-untuned", True),
        ("1-gepa", True),
        ("2-grpo", True),
    ]


def test_a_demo_after_a_finished_one_begins_a_new_run(workspace: Path) -> None:
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace('stages = ["gepa", "grpo", "calibrate"]', "stages = []"))
    main(["demo", "toy.toml"])
    main(["demo", "toy.toml"])
    assert len(the_runs(workspace)) == 2


def test_a_second_optimize_begins_a_new_run(workspace: Path) -> None:
    main(["optimize", "toy.toml"])
    main(["optimize", "toy.toml"])
    assert len(the_runs(workspace)) == 2


def test_a_changed_stage_table_begins_the_interrupted_stage_again(tmp_path: Path, command: Command) -> None:
    assert command("optimize", "toy.toml", kill="gepa:3").returncode == 9
    recipe = tmp_path / "toy.toml"
    recipe.write_text(recipe.read_text() + "[gepa]\nn_words = 2\n")
    done = command("optimize", "toy.toml")
    assert "the [gepa] table changed since it was interrupted; it begins again" in done.stdout
    (run,) = the_runs(tmp_path)
    assert (run / "1-gepa" / "work" / "steps-run.txt").read_text().split() == ["1", "2", "3"]


def test_a_step_that_the_recipe_would_not_make_any_more_is_made_again(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("optimize", "train"):
        assert main([verb, "toy.toml"]) == 0
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text() + "[grpo]\nsteps = 2\n")
    capsys.readouterr()
    assert main(["train", "toy.toml"]) == 0
    said = capsys.readouterr().out
    assert "2-grpo is made of other settings, models or code now: dropping 2-grpo" in said
    (run,) = the_runs(workspace)
    assert [step["settings"] for step in RunFolder(run).steps][2] == {"steps": 2}
    assert (run / "2-grpo" / "work" / "steps-run.txt").read_text().split() == ["1", "2"]


def test_what_stood_before_a_stage_is_made_again_before_it(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("optimize", "train", "calibrate"):
        assert main([verb, "toy.toml"]) == 0
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text() + "[gepa]\nn_words = 2\n")
    assert main(["train", "toy.toml"]) == 0
    assert "1-gepa is made of other settings" in capsys.readouterr().out
    (run,) = the_runs(workspace)
    assert [step["folder"] for step in RunFolder(run).done_steps()] == ["0-untuned", "1-gepa", "2-grpo", "3-calibrate"]
    assert RunFolder(run).steps[1]["settings"]["n_words"] == 2


def test_a_kill_while_stale_steps_are_made_again_loses_none(tmp_path: Path, command: Command) -> None:
    for verb in ("optimize", "train"):
        assert command(verb, "toy.toml").returncode == 0
    recipe = tmp_path / "toy.toml"
    recipe.write_text(recipe.read_text() + "[gepa]\nn_words = 2\n")
    assert command("calibrate", "toy.toml", kill="gepa:2").returncode == 9
    again = command("calibrate", "toy.toml")
    assert again.returncode == 0, again.stderr
    (run,) = the_runs(tmp_path)
    done = [step["folder"] for step in RunFolder(run).done_steps()]
    assert done == ["0-untuned", "1-gepa", "2-grpo", "3-calibrate"]


def test_a_stage_that_is_forced_is_run_once(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("optimize", "train"):
        assert main([verb, "toy.toml"]) == 0
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text() + "[grpo]\nsteps = 2\n")
    capsys.readouterr()
    assert main(["train", "toy.toml", "--force"]) == 0
    assert capsys.readouterr().out.count("grpo …") == 1


def test_an_interrupted_step_is_not_finished_on_what_was_changed(tmp_path: Path, command: Command) -> None:
    assert command("optimize", "toy.toml").returncode == 0
    assert command("train", "toy.toml", kill="grpo:2").returncode == 9
    recipe = tmp_path / "toy.toml"
    recipe.write_text(recipe.read_text() + "[gepa]\nn_words = 2\n")
    refused = command("export", "toy.toml")
    assert refused.returncode == 2
    assert "2-grpo was interrupted, and 1-gepa before it is made of other settings" in refused.stderr
    assert command("train", "toy.toml").returncode == 0
    (run,) = the_runs(tmp_path)
    assert [step["folder"] for step in RunFolder(run).done_steps()] == ["0-untuned", "1-gepa", "2-grpo"]


def test_a_record_that_names_a_place_outside_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "toy.toml"]) == 0
    (run,) = the_runs(workspace)
    precious = workspace / "precious"
    precious.mkdir()
    state = json.loads((run / "state.json").read_text())
    for folder in (str(precious), "../../../precious"):
        state["steps"][1] |= {"folder": folder, "key": "gepa-0000000000000000"}
        write_json(run / "state.json", state)
        capsys.readouterr()
        assert main(["train", "toy.toml"]) == 2
        assert "name no step" in capsys.readouterr().err
        assert precious.is_dir()


def test_predict_asks_what_was_exported_where_no_step_is_left(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("optimize", "export"):
        assert main([verb, "toy.toml"]) == 0
    (run,) = the_runs(workspace)
    folder = RunFolder(run)
    folder.drop_from(folder.steps[0])
    capsys.readouterr()
    assert main(["predict", "toy.toml", "--text=the pool is green"]) == 0
    assert str(run.relative_to(workspace) / "bundle") in capsys.readouterr().out


def test_a_step_that_was_run_again_is_asked_in_place_of_its_older_export(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("optimize", "export"):
        assert main([verb, "toy.toml"]) == 0
    (run,) = the_runs(workspace)
    done = run / "1-gepa" / "done.json"
    write_json(done, {**json.loads(done.read_text()), "bundle": "another"})
    capsys.readouterr()
    assert main(["predict", "toy.toml", "--text=the pool is green"]) == 0
    assert "1-gepa/bundle" in capsys.readouterr().out


def test_a_run_may_be_given_by_a_link(workspace: Path) -> None:
    assert main(["optimize", "toy.toml"]) == 0
    (run,) = the_runs(workspace)
    (workspace / "latest").symlink_to(run)
    assert main(["train", "toy.toml", "--run=latest"]) == 0
    assert (run / "2-grpo" / "bundle" / "bundle.json").is_file()


def test_a_comparison_without_the_steps_folder_still_reports(workspace: Path) -> None:
    for verb in ("optimize", "compare"):
        assert main([verb, "toy.toml"]) == 0
    shutil.rmtree(workspace / "runs" / "toy" / "steps")
    (run,) = the_runs(workspace)
    (run / "report.md").unlink()
    assert main(["compare", "toy.toml"]) == 0
    assert (run / "report.md").is_file()


def test_a_new_run_takes_the_steps_that_are_kept(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "toy.toml"]) == 0
    assert main(["optimize", "toy.toml"]) == 0
    assert "1-gepa: done already" in capsys.readouterr().out
    first, second = the_runs(workspace)
    assert (first / "1-gepa").resolve() == (second / "1-gepa").resolve()


def test_a_run_of_an_earlier_edition_says_what_to_do(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("optimize", "export"):
        assert main([verb, "toy.toml"]) == 0
    (run,) = the_runs(workspace)
    state = json.loads((run / "state.json").read_text())
    for step in state["steps"]:
        kept = (run / step["folder"]).resolve()
        (run / step["folder"]).unlink()
        kept.rename(run / step["folder"])
        del step["key"]
    write_json(run / "state.json", state)
    capsys.readouterr()
    assert main(["train", "toy.toml"]) == 2
    said = capsys.readouterr().err
    assert "was made by an earlier edition" in said
    assert "make demo" in said
    assert main(["predict", "toy.toml", "--text=the pool is green"]) == 0
    assert main(["optimize", "toy.toml"]) == 0
    assert len(the_runs(workspace)) == 2


@pytest.mark.parametrize("verb", ["train", "compare", "export"])
def test_a_changed_task_is_refused_in_one_line(workspace: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    main(["optimize", "toy.toml"])
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace("Name the topic", "Say the topic"))
    assert main([verb, "toy.toml"]) == 2
    said = capsys.readouterr().err
    assert "[task] changed since run" in said
    assert said.count("\n") == 1


def test_a_changed_task_begins_a_new_demo_and_says_so(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["optimize", "toy.toml"])
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace("seed = 3", "seed = 4"))
    assert main(["demo", "toy.toml"]) == 0
    assert "seed changed since run" in capsys.readouterr().out
    assert len(the_runs(workspace)) == 2


def test_changed_rows_are_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["optimize", "toy.toml"])
    rows = workspace / "rows.jsonl"
    rows.write_text(rows.read_text().replace("chlorine", "bromine"))
    assert main(["train", "toy.toml"]) == 2
    assert "the data changed since the run began" in capsys.readouterr().err


def test_a_run_can_be_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["optimize", "toy.toml"])
    main(["optimize", "toy.toml"])
    first, second = the_runs(workspace)
    assert main(["train", "toy.toml", "--run", first.name]) == 0
    assert [len(RunFolder(run).steps) for run in (first, second)] == [3, 2]
    assert main(["train", "toy.toml", "--run", "20200101-000000"]) == 2
    assert f"expected one of {first.name}, {second.name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["demo", "none.toml"], "no such recipe"),
        (["predict", "toy.toml", "--text", "hello"], "no run of toy"),
        (["predict", "toy.toml", "--text", " "], "predict needs a text"),
        (["dashboard", "toy.toml"], "nothing is recorded yet"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_an_unknown_baseline_is_refused_before_a_run_begins(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = workspace / "toy.toml"
    recipe.write_text(recipe.read_text().replace('"words"', '"word"'))
    assert main(["demo", "toy.toml"]) == 2
    assert "unknown baseline 'word'; did you mean 'words'?" in capsys.readouterr().err
    assert the_runs(workspace) == []


@pytest.mark.parametrize(
    ("given", "refused", "options"),
    [
        ("synthesize --run nonsense", "--run nonsense", "--force"),
        ("review --force", "--force", "--run"),
        ("dashboard --run=1", "--run=1", "--port"),
        ("serve --candidate best --force", "--candidate best --force", "--run, --port"),
        ("train other.toml", "other.toml", "--run, --force"),
    ],
)
def test_what_a_verb_does_not_take_is_refused(
    capsys: pytest.CaptureFixture[str], given: str, refused: str, options: str
) -> None:
    verb, *more = given.split()
    with pytest.raises(SystemExit) as end:
        main([verb, "toy.toml", *more])
    assert end.value.code == 2
    said = f"python -m workbench {verb}"
    expected = f"{said}: error: it does not take {refused}; its options are {options}; see {said} --help\n"
    assert capsys.readouterr().err == expected


def test_a_filled_sheet_is_taken_with_nothing_beside_it(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["next-rows", "toy.toml", "--labels", "sheet.csv", "--run", "nonsense", "--n", "0", "--force"]) == 2
    assert capsys.readouterr().err == (
        "labelwright: error: next-rows --labels does not take --run, --n, --force, which go with --pool: leave out\n"
    )


def test_a_misspelt_preference_is_refused_before_anything_runs(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipe_stages.STAGES, "dpo", ("optimizers.training.dpo", "DpoStage"))
    written = (workspace / "toy.toml").read_text().replace('stages = ["gepa", ', 'stages = ["gepa", "dpo", ')
    (workspace / "toy.toml").write_text(written + '\n[dpo]\npreferences = "said.jsonl"\n')
    rows = [json.loads(line) for line in (workspace / "rows.jsonl").read_text().splitlines()]
    said = [{"text": row["text"], "chosen": row["label"], "rejected": "Fense"} for row in rows]
    (workspace / "said.jsonl").write_text("\n".join(map(json.dumps, said)))
    assert main(["optimize", "toy.toml"]) == 2
    refused = capsys.readouterr().err
    assert "said.jsonl" in refused
    assert "rejected is 'Fense': expected one of" in refused
    assert refused.count("\n") == 1
    assert not RunFolder(the_runs(workspace)[0]).steps, "nothing was scored"


def test_an_interrupt_says_how_to_continue(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import workbench_fakes

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workbench_fakes.FakeGepa, "run", interrupt)
    assert main(["optimize", "toy.toml"]) == 130
    assert "the same command continues: make optimize" in capsys.readouterr().err


def test_predict_asks_the_newest_bundle(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["optimize", "toy.toml"])
    capsys.readouterr()
    assert main(["predict", "toy.toml", "--text", "the skimmer and the chlorine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("pool")
    assert "1-gepa/bundle" in lines[-1]


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "", {}, {})
    with folder.lock(), pytest.raises(RunBusyError, match="is in use by process"), RunFolder(folder.path).lock():
        pass
    with RunFolder(folder.path).lock():
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "", {}, {})
    (folder.path / "lock").write_text("999999")
    with folder.lock():
        assert (folder.path / "lock").read_text() != "999999"


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    made = [RunFolder.create(tmp_path, "", {}, {}).path for _ in range(3)]
    assert runs_of(tmp_path) == made


def test_a_half_made_run_does_not_count(tmp_path: Path) -> None:
    whole = RunFolder.create(tmp_path, "", {}, {}).path
    (tmp_path / "29991231-000000").mkdir()
    (tmp_path / "notes").mkdir()
    assert runs_of(tmp_path) == [whole]


def test_time_counts_across_attempts(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_json(path, {"seconds": 100.0})
    with Clock(path) as clock:
        time.sleep(0.05)
    assert 100.05 <= clock.seconds < 105
    assert json.loads(path.read_text())["seconds"] == pytest.approx(clock.seconds, abs=0.01)


def test_a_clock_is_written_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "_EVERY_S", 0.01)
    with Clock(tmp_path / "clock.json"):
        deadline = time.monotonic() + 60
        while not (tmp_path / "clock.json").is_file():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_curves_survive_a_torn_line_and_a_repeated_step(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    for step, value in [(1, 0.1), (2, 0.2), (2, 0.25)]:
        append_curve(path, step, {"dev": value})
    with path.open("a") as file:
        file.write('{"step": 3, "de')
    assert read_curves(path) == {"dev": [(1, 0.1), (2, 0.25)]}
