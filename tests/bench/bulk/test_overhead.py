"""What a row costs over Ray, beside the plain command's: commands are small scripts here."""

import sys

import pytest

from bench.bulk import overhead
from bench.bulk.overhead import Look, of_all_rows, watched
from labelwright.errors import LabelwrightError

# Begins, then writes lines of ten bytes, each after so much processor time.
WRITES = """
import sys, time
file, begins_s, a_row_s, n_rows = sys.argv[1], *map(float, sys.argv[2:])
def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
work(begins_s)
with open(file, "w", buffering=1) as file:
    for _ in range(int(n_rows)):
        work(a_row_s)
        file.write("a" * 9 + "\\n")
"""


def writes(folder, begins_s, a_row_s, n_rows, name=".answers.jsonl.unfinished"):
    return [sys.executable, "-c", WRITES, str(folder / name), *map(str, (begins_s, a_row_s, n_rows))]


@pytest.mark.parametrize("name", [".answers.jsonl.unfinished", "parts/.part-00000.1-1.tmp.jsonl"])
def test_a_row_is_what_is_taken_while_answers_are_written_and_no_start(tmp_path, name):
    (tmp_path / "parts").mkdir()
    (tmp_path / "counts.json").write_text("{}" * 1000, encoding="utf-8")
    looks = watched(writes(tmp_path, 0.8, 2e-3, 600, name), tmp_path)
    assert looks[0].n_bytes == 0
    assert of_all_rows(looks, 6000) == pytest.approx(600 * 2e-3, rel=0.25)


def test_what_a_command_starts_counts(tmp_path):
    """A row's work is another process's, which nobody waits for."""
    by_another = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WRITES!r}, *sys.argv[1:]])"
    command = [sys.executable, "-c", by_another, *writes(tmp_path, 0.1, 2e-3, 600)[3:]]
    assert of_all_rows(watched(command, tmp_path), 6000) == pytest.approx(600 * 2e-3, rel=0.25)


def test_begin_and_end_do_not_count_and_what_was_not_looked_at_is_no_measurement():
    looks = [Look(5.0, 0), Look(5.5, 10), Look(6.0, 100), Look(7.0, 300), Look(8.0, 500), Look(20.0, 990)]
    assert of_all_rows(looks, 1000) == pytest.approx(5.0)
    for few in ([], looks[:3], [*looks[:3], Look(9.0, 100)]):
        with pytest.raises(LabelwrightError, match="over before it was looked at twice; take more rows"):
            of_all_rows(few, 1000)


def test_a_command_that_fails_is_its_last_line(tmp_path):
    with pytest.raises(LabelwrightError, match="bulk_overhead: gone wrong"):
        watched([sys.executable, "-c", "import sys; sys.exit('first\\ngone wrong')"], tmp_path)
    with pytest.raises(LabelwrightError, match="a command ended with 3"):
        watched([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path)


@pytest.fixture
def commands(monkeypatch):
    """Those that would have been run: a row takes 1 ms, a tenth more over Ray."""
    asked = []

    def fake(command, folder):
        asked.append(command)
        (folder / "answers.jsonl").write_text("x" * 1000, encoding="utf-8")
        a_row = 1.1e-3 if "ray" in command else 1e-3
        return [Look(1.0, 100), Look(1.0 + 80 * a_row, 500), Look(9.0, 1000)]

    monkeypatch.setattr(overhead, "watched", fake)
    return asked


def test_every_round_has_all_engines_in_turn(setting, shows_both_sides, commands):
    measured = overhead.bulk_overhead(setting, n_rows=200, rounds=2)
    assert measured.value == pytest.approx(1.1)
    assert measured.reached
    shows_both_sides(measured, {"plain", "ray", "processes"}, 2)
    assert measured.sides["plain"].median == pytest.approx(1000)
    assert measured.facts["processes_over_plain"] == pytest.approx(1.0)
    assert [command.count("--engine") for command in commands] == [0, 1, 1] * 2


def test_answers_that_differ_are_no_speed(setting, monkeypatch):
    def fake(command, folder):
        (folder / "answers.jsonl").write_text("ray" if "ray" in command else "plain", encoding="utf-8")
        return [Look(1.0, 1), Look(2.0, 3)]

    monkeypatch.setattr(overhead, "watched", fake)
    with pytest.raises(LabelwrightError, match="--engine ray does not answer as the plain command does"):
        overhead.bulk_overhead(setting, n_rows=200, rounds=1)
