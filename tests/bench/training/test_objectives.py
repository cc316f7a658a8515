"""What is measured of objectives: on data of which the better program is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.training import objectives
from bench.training.objectives import choices, comparisons, main, programs, scored
from labelwright.data.task import group_keys


def made(n_families: int = 60) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three programs: one that knows little, one that knows more and likes a label, one that likes it less."""
    chance = np.random.default_rng(0)
    gold = np.repeat(np.arange(n_families) % 3, 2)
    knows = np.eye(3)[gold]
    noise = chance.normal(0, 1, (len(gold), 3))
    first = knows * 0.8 + noise
    likes = np.array([6.0, 0.0, 0.0])
    scores = np.array([first, knows * 2.5 + noise + likes, first + likes / 20])
    return scores, gold, [str(i // 2) for i in range(len(gold))]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_raw_hits_miss_the_program_that_is_better_once_calibrated(monkeypatch):
    monkeypatch.setattr(objectives, "N_SPLITS", 20)
    scores, gold, groups = made()
    gained = {
        tuple(cells(line)[:2]): float(cells(line)[2].split()[0]) for line in choices(scores, gold, groups, 40)[2:]
    }
    assert gained["log_loss", "cross-fitted"] > 5 > gained["reward", "raw"]
    assert set(gained) == {(value, make) for value in objectives.VALUES for make in objectives.MAKES}
    correlation = {tuple(cells(line)[:2]): float(cells(line)[2]) for line in comparisons(scores, gold)[2:]}
    assert correlation["log_loss", "without liking"] > 0.6 > correlation["log_loss", "raw"]


def test_programs_are_scored_once_on_families_that_gave_no_evidence(setting, tmp_path, capsys):
    scores, rows = scored(setting, 3, tmp_path)
    assert scores.shape == (3, len(rows), 3)
    assert len(rows) < len(setting.examples)
    known = [row for row in setting.examples if row not in rows]
    assert not {*group_keys(known)} & {*group_keys(rows)}
    texts = programs(setting, known, 3)
    assert len({*texts}) == 3
    assert texts[0] == setting.prompt.instructions
    deaf = replace(setting, engine=SimpleNamespace(count_tokens=setting.engine.count_tokens))
    np.testing.assert_array_equal(scored(deaf, 3, tmp_path)[0], scores)
    assert "3 of 3 programs" in capsys.readouterr().err


def test_one_program_is_none_to_choose_from(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--programs", "1"])
    assert "expected at least 2" in capsys.readouterr().err


def test_a_race_saves_rows_and_keeps_the_best(monkeypatch):
    monkeypatch.setattr(objectives, "N_RACES", 6)
    scores, gold, groups = made()
    better = np.concatenate([scores, scores[1:2] + np.eye(3)[gold], scores[:1] - np.eye(3)[gold] / 2])
    lines = [cells(line) for line in objectives.races(better, gold, groups, 60)[2:]]
    assert [line[0] for line in lines] == ["0.5", "0.8", "0.95"]
    shares = [int(line[1].split()[0]) for line in lines]
    assert shares == sorted(shares)
    assert shares[0] < 90
    assert lines[-1][3] == "6 of 6"
    assert lines[-1][4] in ("+0.00", "-0.00")
