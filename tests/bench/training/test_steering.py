"""What is taught and what is measured are parted; a line says what steering rows changed, paired."""

from __future__ import annotations

import json

import numpy as np

from bench.training import steering
from bench.training.steering import LINEAR, MODEL, measured, runs_of, table, train_missing
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
    found = train_missing(setting, wanted, 4, tmp_path / "kept.jsonl")
    assert len(found[0]["right"]) == len(wanted[0][2].held_out)
    assert {len(one) for one in found[0]["moved"].values()} == {4}
    assert np.mean(found[0]["right"]) > 0.5  # words tell the toy rows' labels
    monkeypatch.setattr(steering, "measured", lambda *given: json.loads("not asked again"))
    assert train_missing(setting, wanted, 4, tmp_path / "kept.jsonl") == found
    assert measured is not steering.measured


def test_the_differences_are_paired():
    def run(share, right, moved):
        return {
            "arm": "sft", "share": share, "seed": 0, "families": ["a", "b"], "right": right,
            "moved_families": ["a", "b"], "moved": dict.fromkeys(ENDINGS, moved),
        }  # fmt: skip

    lines = table([run(0.0, [True, True], [True, True]), run(0.2, [True, False], [False, False])])
    assert lines[2].startswith("| sft | 0 | 100.0 | – | 100.0 | – | 100 |")
    assert lines[3].startswith("| sft | 0.2 | 50.0 | -50.0 [-100.0, +0.0] | 0.0 | -100.0 [-100.0, -100.0] | 0 |")
