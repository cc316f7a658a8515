"""A style that is left out is in no row that teaches; arms differ in one thing; differences are paired by row."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from bench.held_out import styles
from bench.held_out.styles import ARMS, AUGMENT, SHIPPED, STYLES, StyleRun, averaging, runs_of, style_of, table
from labelwright.data.task import Example, group_keys

TEXTS = {"sentence": "My {} is loud.", "question": "why is the {} loud", "note": "{} loud since monday"}


@pytest.fixture
def styled(setting):
    """The toy rows, each in one of the three styles."""
    rows = [replace(row, text=TEXTS[STYLES[n % 3]].format(row.text)) for n, row in enumerate(setting.examples)]
    return replace(setting, examples=rows)


def test_a_style_that_is_left_out_teaches_nothing_and_the_others_teach_as_many_rows(styled):
    runs = runs_of(styled, [SHIPPED, "augmented"], 2)
    assert len(runs) == 2 * len(STYLES) * 2 * 2
    for new, more, taught, _ in zip(*(runs[n::4] for n in range(4)), strict=True):
        assert (new.setting, taught.setting) == (f"{new.style}, new", f"{new.style}, taught")
        assert new.held_out == taught.held_out == more.held_out
        assert not {*group_keys(new.train)} & {*group_keys(new.held_out)}
        assert new.style not in {style_of(row.text) for row in new.train}
        assert {style_of(row.text) for row in taught.train} == {*STYLES}
        assert len(new.train) == len(taught.train)
        assert more.train[: len(new.train)] == new.train
        assert len(more.train) == pytest.approx(len(new.train) / (1 - AUGMENT), abs=1)
        # Copies keep their row's group, so folds do not part them; and so does the fold held out.
        assert {*group_keys(more.train)} == {*group_keys(new.train)}
    names = styled.task.names
    assert len({run.key(names, []) for run in runs_of(styled, ARMS, 1)}) == len(ARMS) * len(STYLES) * 2


def test_n_grams_are_trained_and_kept(styled, tmp_path, monkeypatch):
    trainer, about = styles.chars_of(styled)
    wanted = [run for run in runs_of(styled, [SHIPPED], 1) if run.style == "note"]
    found = styles.train_missing(styled, wanted, trainer, about, tmp_path / "kept.jsonl")
    assert np.mean(found[1]["right"]) > 0.5  # words tell the toy rows' labels
    again = styles.train_missing(styled, wanted, lambda run: json.loads("not again"), about, tmp_path / "kept.jsonl")
    assert again == found


def test_arms_that_a_thing_does_not_have_are_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        styles.main(["--what", "chars", "--arms", "dropout", "augmented", "averaged", "--recipe", "nothing.toml"])
    told = capsys.readouterr().err
    assert "--arms dropout, averaged: --what chars has none; expected some of as shipped, fewer steps, aug" in told


class Vectors:
    """Every text is where its label's name is, and a little beside."""

    def embed(self, texts, remember=False):
        found = np.zeros((len(texts), 3), dtype=np.float32)
        for row, text in enumerate(texts):
            words = {"pool": 0, "fence": 1, "hvac": 2}
            found[row, words.get(text, len(text) % 3)] = 1.0
        return found


def test_every_arm_of_the_head_is_another_training(styled, monkeypatch):
    monkeypatch.setattr(styles, "open_encoder", Vectors)
    monkeypatch.setattr(styles, "HEAD_STEPS", 6)
    trainer, _ = styles.head_of(styled)
    runs = [run for run in runs_of(styled, ARMS, 1) if run.setting == "note, new"]
    scores = {run.arm: trainer(run) for run in runs}
    for arm in ARMS:
        assert np.isfinite(scores[arm]).all()
        assert arm == SHIPPED or np.abs(scores[arm] - scores[SHIPPED]).max() > 1e-4, arm
    assert np.array_equal(trainer(runs[0]), scores[SHIPPED])


def test_the_model_is_trained_in_an_arm_of_its_own(styled, monkeypatch):
    monkeypatch.setattr(styles, "Steps", partial(styles.Steps, steps=4, rows_per_step=2, rows_per_forward=2))
    monkeypatch.setattr(styles, "content_of", lambda base: "")
    trainer, _ = styles.model_of(styled)
    (plain, averaged) = [run for run in runs_of(styled, [SHIPPED, "averaged"], 1) if run.setting == "note, new"]
    scores = [trainer(run) for run in (plain, averaged)]
    assert scores[0].shape == scores[1].shape == (len(plain.held_out), 3)
    assert np.isfinite(scores).all()
    assert np.abs(scores[0] - scores[1]).max() > 1e-6


def test_averaging_puts_the_mean_of_the_second_half_in_place():
    class Trainer:
        model = torch.nn.Linear(1, 1, bias=False)

        def add_callback(self, callback):
            self.callback = callback

    class State:
        max_steps = 4

    trainer = Trainer()
    end = averaging(trainer)
    for step, value in enumerate((10.0, 20.0, 1.0, 3.0), start=1):
        with torch.no_grad():
            trainer.model.weight.fill_(value)
        State.global_step = step
        trainer.callback.on_step_end(None, State, None)
    end()
    assert trainer.model.weight.item() == 2.0


def test_rows_of_the_style_are_told_from_the_others_and_differences_are_paired():
    held_out = (Example("1", "A note.", "pool"), Example("2", "note", "pool"), Example("3", "note too", "pool"))

    def run(arm, kind):
        return StyleRun(f"note, {kind}", arm, 0, (), held_out, "note")

    right = {
        (SHIPPED, "new"): [True, False, False],
        (SHIPPED, "taught"): [False, True, True],
        ("dropout", "new"): [False, True, False],
        ("dropout", "taught"): [True, True, True],
    }
    wanted = [run(*place) for place in right]
    found = [{"right": one, "families": ["a", "b", "c"]} for one in right.values()]
    lines = table(wanted, found)
    # Of the two notes; the row in another style is asked of those that were not taught notes.
    assert lines[2] == "| note | 2 | 100.0 | 0.0 | -100.0 [-100.0, -100.0] | 100.0 |"
    assert lines[6].startswith("| as shipped | 0.0 | – | 100.0 | – | 100.0 | – | -100.0")
    assert lines[7].startswith("| dropout | 50.0 | +50.0 [")
    assert "| 100.0 | +0.0 [+0.0, +0.0] | 0.0 | -100.0 [" in lines[7]
