"""What a row costs over Ray, beside the plain command's: commands are not run here."""

import pytest

from bench.bulk import overhead
from bench.bulk.turns import Look, Turn
from labelwright.errors import LabelwrightError


@pytest.fixture
def commands(monkeypatch):
    """Those that would have been run: a row takes 1 ms, a tenth more over Ray, where the first ones take 2 more."""
    asked = []

    def fake(commands, folders):
        asked.append(commands)
        for folder in folders.values():
            (folder / "answers.jsonl").write_text("x" * 1000, encoding="utf-8")
        rounds = []
        for begin, end in ((0, 20), (20, 200), (200, 900), (900, 1000)):
            one = {}
            for name in commands:
                a_row = 1.1e-3 if name == "ray" else 1e-3
                late = 0.4 if name == "ray" else 0.0
                seconds = [5 + a_row * n / 5 + late * (n > 20) for n in (begin, end)]
                one[name] = Turn(Look(seconds[0], begin), Look(seconds[1], end))
            rounds.append(one)
        return rounds

    monkeypatch.setattr(overhead, "watched", fake)
    return asked


def test_every_round_has_all_engines(setting, shows_both_sides, commands):
    measured = overhead.bulk_overhead(setting, n_rows=200, rounds=2)
    assert measured.value == pytest.approx(1.1)
    assert measured.reached
    shows_both_sides(measured, {"plain", "ray", "processes"}, 2)
    assert measured.sides["plain"].median == pytest.approx(1000)
    facts = measured.facts
    assert facts["processes_over_plain"] == pytest.approx({"median": 1.0, "min": 1.0, "max": 1.0})
    assert facts["of_sums"] == pytest.approx(1.1)
    assert facts["with_first_rows"] == pytest.approx((0.88 * 0.22 + 0.4) / (0.88 * 0.2), rel=1e-6)
    assert facts["start_to_end"] == pytest.approx(5.62 / 5.2)
    assert facts["start_to_end_s"] == pytest.approx({"plain": 5.2, "ray": 5.62, "processes": 5.2})
    assert [[command.count("--engine") for command in one.values()] for one in commands] == [[0, 1, 1]] * 2


def test_of_an_encoder_the_whole_command_counts(setting, shows_both_sides, commands, monkeypatch):
    # A head on MiniLM takes a second to fit; which classifier answers is nothing to what is counted.
    monkeypatch.setattr(overhead.baselines.embeddings, "minilm_logreg", overhead.baselines.linear.sgd_ngrams)
    measured = overhead.bulk_overhead_encoder(setting, n_rows=200, rounds=2)
    assert measured.value == pytest.approx(5.62 / 5.2)
    assert measured.reached
    shows_both_sides(measured, {"plain", "ray"}, 2)
    assert measured.sides["ray"].median == pytest.approx(5.62)
    assert [list(one) for one in commands] == [["plain", "ray"]] * 2


def test_answers_that_differ_are_no_speed(setting, monkeypatch):
    def fake(commands, folders):
        for name, folder in folders.items():
            (folder / "answers.jsonl").write_text("ray" if name == "ray" else "plain", encoding="utf-8")
        return []

    monkeypatch.setattr(overhead, "watched", fake)
    with pytest.raises(LabelwrightError, match="--engine ray does not answer as the plain command does"):
        overhead.bulk_overhead(setting, n_rows=200, rounds=1)
