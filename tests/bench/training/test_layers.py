"""What a share of the layers costs and saves: who is taught what, and that differences are paired."""

import numpy as np
import pytest
from fakes import toy_task

from bench.training.layers import LayersRun, by_share, main, runs_of, steps_of, table, times
from bench.training.scales import train_missing
from labelwright.data.task import group_keys
from optimizers.training.settings import TrainingSettings


def test_within_a_seed_shares_differ_in_nothing_else(setting):
    runs = runs_of(setting, (1.0, 0.5), 3)
    assert [(run.seed, run.arm) for run in runs] == [(seed, arm) for seed in range(3) for arm in ("100", "50")]
    for whole, half in zip(runs[::2], runs[1::2], strict=True):
        assert (whole.train, whole.held_out) == (half.train, half.held_out)
        assert whole.objective(toy_task().names).mode == "exact"
        assert not {*group_keys(whole.held_out)} & {*group_keys(whole.train)}, "families stay on one side"
    assert sorted(row.id for run in runs[::2] for row in run.held_out) == sorted(row.id for row in setting.examples)
    assert len({run.key(toy_task().names, ["settings"]) for run in runs}) == len(runs)
    shipped, half = TrainingSettings, runs[1].steps
    assert (half.lora_layers, half.steps, half.rows_per_step) == (0.5, shipped.steps, shipped.rows_per_step)


def test_differences_are_to_the_first_share_on_the_same_rows(setting, tmp_path):
    def fake(run):
        """All right with all layers, one row in three wrong with half of them."""
        wrong = np.arange(len(run.held_out)) % 3 == 0
        gold = np.array([toy_task().index(row.label) for row in run.held_out])
        return 9 * np.eye(3)[(gold + (wrong if run.arm == "50" else 0)) % 3]

    found = train_missing(setting, runs_of(setting, (1.0, 0.5), 1), fake, [], tmp_path / "layers.jsonl")
    lines = table(found)
    n_rows, share = len(found[0]["right"]), 100 * np.mean(found[1]["right"])
    assert "| 100 | 100.0 | – | 0.00 | – |" in lines
    half = next(line for line in lines if line.startswith("| 50 |"))
    assert half.startswith(f"| 50 | {share:.1f} | {share - 100:+.1f} [")
    assert lines[-1].startswith(f"1 seeds, {n_rows} rows held out")


def test_each_run_tunes_its_own_share(setting, monkeypatch):
    told = []
    monkeypatch.setattr("bench.training.layers.model_of", lambda _, steps: (lambda run: told.append(steps), None))
    train = by_share(setting)
    for run in runs_of(setting, (1.0, 0.5), 1):
        train(run)
    assert [steps.lora_layers for steps in told] == [1.0, 0.5]


def test_times_are_of_every_way_that_a_share_has(setting):
    lines = times(setting, (1.0, 0.5), 0)
    assert [line.split(" | ")[:2] for line in lines[2:-2]] == [
        ["| 100", "plain"],
        ["| 50", "plain"],
        ["| 50", "new"],
        ["| 50", "again"],
    ]
    assert lines[2].endswith("| 1.00 [1.00, 1.00] |")


def test_wrong_arguments_and_recipes_are_one_line(tmp_path, capsys):
    for arguments in (["--seeds", "0"], ["--shares", "0"], ["--shares", "1.5"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert main(["--recipe", str(tmp_path / "none.toml")]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_run_is_known_by_its_share():
    one, other = (LayersRun("layers", arm, 0, (), ()) for arm in ("100", "50"))
    assert one.key(toy_task().names, []) != other.key(toy_task().names, [])
    assert steps_of(0.25).lora_layers == 0.25
