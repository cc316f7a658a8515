"""What is taught and what is measured are parted; a line says what steering rows changed, paired."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from bench.training import steering
from bench.training.arms.trainers import Steps
from bench.training.steering import LINEAR, MODEL, main, measured, runs_of, table, train_missing
from labelwright.data.task import group_keys
from workbench.compare.steering.endings import ENDINGS


def test_within_a_seed_shares_differ_in_nothing_but_the_copies(setting):
    runs = runs_of(setting, [MODEL, LINEAR[0]], [0.0, 0.5], 2)
    assert [(arm, share) for arm, share, _ in runs[:4]] == [(a, s) for a in (MODEL, LINEAR[0]) for s in (0.0, 0.5)]
    plain, steered = runs[0][2], runs[1][2]
    assert plain.held_out == steered.held_out
    assert steered.train[: len(plain.train)] == plain.train
    assert len(steered.train) == 2 * len(plain.train)
    assert not {*group_keys(plain.held_out)} & {*group_keys(steered.train)}
    assert runs[0][2].held_out != runs[4][2].held_out


def test_a_linear_model_is_trained_and_measured_and_kept(setting, tmp_path, monkeypatch):
    monkeypatch.setattr(steering, "content_of", lambda base: "")
    wanted = runs_of(setting, [LINEAR[0]], [0.0, 0.5], 1)
    found = train_missing(setting, wanted, 4, tmp_path / "kept.jsonl", Steps())
    assert len(found[0]["right"]) == len(wanted[0][2].held_out)
    assert {len(one) for one in found[0]["moved"].values()} == {4}
    assert np.mean(found[0]["right"]) > 0.5  # words tell the toy rows' labels
    monkeypatch.setattr(steering, "measured", lambda *given: json.loads("not asked again"))
    longer = Steps(steps=50)
    assert train_missing(setting, wanted, 4, tmp_path / "kept.jsonl", longer) == found, "who takes no steps is the same"
    assert measured is not steering.measured


@pytest.fixture
def asked(setting, monkeypatch):
    """The steps that every training of the command is asked for; nothing is trained."""
    steps: list[Steps] = []

    def learns(setting, arm, run, n_rows, given):
        steps.append(given)
        families = group_keys(run.held_out)
        right = [True] * len(families)
        return {
            "families": families,
            "right": right,
            "moved_families": families,
            "moved": dict.fromkeys(ENDINGS, right),
        }

    monkeypatch.setattr(steering, "open_setting", lambda path: setting)
    monkeypatch.setattr(steering, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    monkeypatch.setattr(steering, "content_of", lambda base: "")
    monkeypatch.setattr(steering, "measured", learns)
    return steps


def test_the_stages_own_steps_can_be_asked_and_are_other_runs(asked, tmp_path, capsys):
    run = ["--arms", MODEL, "--shares", "0", "--seeds", "1", "--out", str(tmp_path / "out.jsonl")]
    whole = ["--steps", "50", "--rows-per-step", "16", "--layers", "1", "--learning-rate", "5e-4"]
    assert main(run) == main([*run, *whole]) == main([*run, *whole]) == 0
    assert asked == [
        Steps(),
        Steps(steps=50, rows_per_step=16, rows_per_forward=16, lora_layers=1.0, learning_rate=5e-4),
    ]
    assert main([*run, "--layers", "2"]) == 2
    assert "lora_layers" in capsys.readouterr().err


def test_the_model_is_trained_for_as_long_as_is_asked(setting, monkeypatch, tmp_path):
    given = []

    def trainer_of(setting, run, steps, folder):
        given.append(steps)
        raise StopIteration

    monkeypatch.setattr(steering, "trainer_of", trainer_of)
    (wanted,) = runs_of(setting, [MODEL], [0.0], 1)
    with pytest.raises(StopIteration):
        measured(setting, *wanted[::2], 4, Steps(steps=50))
    assert given == [Steps(steps=50)]


def test_the_differences_are_paired():
    def run(share, right, moved):
        return {
            "arm": "sft", "share": share, "seed": 0, "families": ["a", "b"], "right": right,
            "moved_families": ["a", "b"], "moved": dict.fromkeys(ENDINGS, moved),
        }  # fmt: skip

    lines = table([run(0.0, [True, True], [True, True]), run(0.2, [True, False], [False, False])])
    assert lines[2].startswith("| sft | 0 | 100.0 | – | 100.0 | – | 100 |")
    assert lines[3].startswith("| sft | 0.2 | 50.0 | -50.0 [-100.0, +0.0] | 0.0 | -100.0 [-100.0, -100.0] | 0 |")
