"""Promises on real datasets: broken no more often than they say, where a point estimate is broken far more often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.decisions import promises
from bench.decisions.promises import CONFIDENCE, DATA, N_DRAWS, SETTINGS, guessed, promised, world_of

# What the command simulates, with fewer rows and parameters so that it takes seconds.
SMALL = {
    "banking77": {"n_taught": 3000, "n_calib": 400, "n_world": 500, "max_error": 0.1, "bias": False},
    "snips": {"n_calib": 400, "n_world": 500, "bias": False},
    "sofmattress": {"bias": False},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_over_200_draws_it_is_broken_in_no_more_than_it_says(name):
    setting = replace(SETTINGS[name], **SMALL[name])
    if not (DATA / setting.path).is_file():
        pytest.skip(f"{DATA / setting.path} is not there")
    world = world_of(setting)
    promise, guess = promised(world, setting), guessed(world, setting, N_DRAWS // 5)
    n_made, n_broken = int(np.isfinite(promise.wrong).sum()), promise.broken(setting.max_error)
    assert n_made >= 50
    assert np.nanmean(promise.answered) > 0.2
    assert binomtest(n_broken, N_DRAWS, 1 - CONFIDENCE, alternative="greater").pvalue > 0.01
    n_guessed_wrong = guess.broken(setting.max_error)
    assert binomtest(n_guessed_wrong, N_DRAWS // 5, 1 - CONFIDENCE, alternative="greater").pvalue < 0.001


def test_the_command_prints_a_row_a_dataset_and_names_those_that_are_not_there(tmp_path, monkeypatch, capsys):
    small = replace(SETTINGS["sofmattress"], n_taught=60, path="mine.jsonl", n_calib=60)
    words = ("pool chlorine", "fence post", "hvac duct")
    rows = [f'{{"text": "{words[i % 3]} {i % 7} {i % 5}", "label": "{words[i % 3].split()[0]}"}}' for i in range(120)]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows))
    monkeypatch.setattr(promises, "DATA", tmp_path)
    monkeypatch.setattr(promises, "SETTINGS", {"mine": small, "theirs": replace(small, path="theirs.jsonl")})
    assert promises.main(["--draws", "4"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("| mine | 100.0 | 60 | 20 | 100 | 100 | 0.0 [0.0, 60.2] |")
    assert "theirs.jsonl is not there" in err
