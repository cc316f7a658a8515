"""What a row costs over Ray, beside the plain command's: commands are not run here."""

import pytest

from bench.bulk import overhead
from bench.bulk.turns import Look
from labelwright.errors import LabelwrightError


@pytest.fixture
def commands(monkeypatch):
    """Those that would have been run: a row takes 1 ms, a tenth more over Ray."""
    asked = []

    def fake(commands, folders):
        asked.append(commands)
        for folder in folders.values():
            (folder / "answers.jsonl").write_text("x" * 1000, encoding="utf-8")
        a_row = {name: 1.1e-3 if name == "ray" else 1e-3 for name in commands}
        return {name: [Look(1.0, 200), Look(1.0 + 80 * a_row[name], 600), Look(9.0, 1000)] for name in commands}

    monkeypatch.setattr(overhead, "watched", fake)
    return asked


def test_every_round_has_all_engines(setting, shows_both_sides, commands):
    measured = overhead.bulk_overhead(setting, n_rows=200, rounds=2)
    assert measured.value == pytest.approx(1.1)
    assert measured.reached
    shows_both_sides(measured, {"plain", "ray", "processes"}, 2)
    assert measured.sides["plain"].median == pytest.approx(1000)
    assert measured.facts["processes_over_plain"] == pytest.approx(1.0)
    assert measured.facts["left_out_s"] == pytest.approx({"plain": 8.8, "ray": 8.78, "processes": 8.8})
    assert [[command.count("--engine") for command in one.values()] for one in commands] == [[0, 1, 1]] * 2


def test_answers_that_differ_are_no_speed(setting, monkeypatch):
    def fake(commands, folders):
        for name, folder in folders.items():
            (folder / "answers.jsonl").write_text("ray" if name == "ray" else "plain", encoding="utf-8")
        return {name: [Look(1.0, 1), Look(2.0, 3)] for name in commands}

    monkeypatch.setattr(overhead, "watched", fake)
    with pytest.raises(LabelwrightError, match="--engine ray does not answer as the plain command does"):
        overhead.bulk_overhead(setting, n_rows=200, rounds=1)
