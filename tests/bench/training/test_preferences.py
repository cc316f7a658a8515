"""DPO behind SFT: arms of a seed share all but what they measure, hard labels are found on the train side, differences
are paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import toy_task

from bench.training import preferences
from bench.training.kept import read_kept
from bench.training.preferences import ARMS, DPO, LONGER, Steps, confused, main, model_of, runs_of, table, train_missing
from labelwright.data.task import group_keys


def test_within_a_seed_arms_differ_in_nothing_but_what_comes_behind(setting):
    runs = runs_of(setting, 2)
    for seed in (0, 1):
        mine = [run for run in runs if run.seed == seed]
        assert [run.arm for run in mine] == list(ARMS)
        assert len({(run.train, run.held_out, run.is_hard) for run in mine}) == 1
        assert not {*group_keys(mine[0].held_out)} & {*group_keys(mine[0].train)}, "families stay on one side"
    assert not {*runs[0].held_out} & {*runs[-1].held_out}, "another fold a seed"
    assert len({run.key("settings") for run in runs}) == len(runs)


def test_hard_labels_are_those_that_the_train_side_mixes_up(monkeypatch):
    gold = np.array([0, 1, 2])
    said = np.log([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.02, 0.03, 0.95]])
    monkeypatch.setattr(preferences, "N_CONFUSED", 1)
    assert confused(gold, said) == [(0, 1)]
    monkeypatch.setattr(preferences, "N_CONFUSED", 6)
    assert len(confused(gold, said)) == 3, "of three labels there are no more"


def test_what_is_kept_is_not_trained_again_and_differences_are_to_longer_sft(setting, tmp_path):
    wanted = runs_of(setting, 1)
    wanted = [replace(run, is_hard=(True, *[False] * (len(run.held_out) - 1))) for run in wanted]
    trained = []

    def fake(run):
        trained.append(run.arm)
        right = np.eye(3)[[toy_task().index(row.label) for row in run.held_out]]
        if run.arm == "sft":
            right[0] *= -1  # the hard row is wrong
        return right

    out = tmp_path / "runs" / "preferences.jsonl"
    train_missing(setting, wanted[:2], fake, "", out)
    out.write_text(out.read_text() + '{"key": "ha')
    lines = "\n".join(table(train_missing(setting, wanted, fake, "", out)))
    assert trained == list(ARMS), "each once"
    assert len(read_kept(out)) == len(ARMS)
    n = len(wanted[0].held_out)
    assert f"| sft | {100 * (n - 1) / n:.1f} |" in lines
    assert "| 0.0 | -100.0 [-100.0, -100.0] |" in lines, "of the one row with a hard label"
    assert f"| {LONGER} | 100.0 | – | 100.0 | – |" in lines


def test_the_model_is_trained_as_the_arm_says_and_the_shared_sft_is_left_as_it_was(setting):
    wanted = {run.arm: run for run in runs_of(setting, 1)}
    before = setting.engine.score(setting.rendered(2), setting.prompt.options)
    # Two steps behind SFT: in the first, beta is but a factor, which Adam takes out.
    steps = Steps(steps=6, rows_per_step=4, rows_per_forward=4, learning_rate=5e-2)
    trainer, _ = model_of(setting, steps)
    sft = trainer(wanted["sft"])
    arms = {arm: trainer(wanted[arm]) for arm in (preferences.HARD_SFT, *DPO)}
    assert sft.shape == (len(wanted["sft"].held_out), 3)
    np.testing.assert_array_equal(trainer(wanted["sft"]), sft)
    each = [sft, *arms.values()]
    for number, one in enumerate(each):
        assert not any(np.allclose(one, other) for other in each[:number])
    assert (setting.engine.score(setting.rendered(2), setting.prompt.options) == before).all()


def test_no_seeds_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--seeds", "0"])
    assert "--seeds 0: expected at least 1" in capsys.readouterr().err
