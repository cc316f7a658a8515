"""What a row costs over Ray, beside the plain command at work at the same time: commands are small scripts here."""

import sys
import time

import pytest

from bench.bulk import overhead
from bench.bulk.overhead import Look, at_the_same_time, rows_of
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


def test_rows_are_compared_while_both_are_at_work_and_no_start_is_in_it(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "parts").mkdir(parents=True)
    (first / "counts.json").write_text("{}", encoding="utf-8")
    parts = writes(first, 0.8, 4e-3, 600, name="parts/.part-00000.1-1.tmp.jsonl")
    looks = at_the_same_time(parts, first, writes(second, 0.1, 2e-3, 600), second)
    own, beside = rows_of(looks, 6000)
    assert beside == pytest.approx(600 * 2e-3, rel=0.25)
    assert own / beside == pytest.approx(2.0, rel=0.25)


def test_what_a_command_starts_counts(tmp_path):
    """A row's work is another process's, which nobody waits for."""
    by_another = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WRITES!r}, *sys.argv[1:]])"
    first, second = tmp_path / "first", tmp_path / "second"
    command = [sys.executable, "-c", by_another, *writes(first, 0.1, 2e-3, 600)[3:]]
    looks = at_the_same_time(command, first, writes(second, 0.1, 2e-3, 600), second)
    own, beside = rows_of(looks, 6000)
    assert own / beside == pytest.approx(1.0, rel=0.25)


def test_a_window_in_which_hardly_anything_was_done_is_no_measurement():
    begin, middle = (Look(1.0, 100), Look(1.0, 100)), (Look(2.0, 900), Look(1.1, 200))
    with pytest.raises(LabelwrightError, match="hardly at work at the same time; take more rows"):
        rows_of([begin, middle], 1000)
    with pytest.raises(LabelwrightError, match="take more rows"):
        rows_of([], 1000)
    assert rows_of([(Look(0.0, 0), Look(0.0, 0)), begin, (Look(2.0, 600), Look(3.0, 600))], 1000) == (2.0, 4.0)


def test_a_command_that_fails_is_its_last_line_and_the_other_is_ended(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    begun = time.monotonic()
    with pytest.raises(LabelwrightError, match="bulk_overhead: gone wrong"):
        at_the_same_time(
            writes(first, 0.0, 0.01, 6000), first, [sys.executable, "-c", "import sys; sys.exit('gone wrong')"], second
        )
    assert time.monotonic() - begun < 30


@pytest.fixture
def beside(monkeypatch):
    """Commands that write what they are told, without being run; a row takes 1 ms, a tenth more over Ray."""
    commands = []

    def fake(first, first_writes, second, second_writes):
        commands.append(first)
        for folder in (first_writes, second_writes):
            folder.mkdir(exist_ok=True)
            (folder / "answers.jsonl").write_text("x" * 1000, encoding="utf-8")
        a_row = 1.1e-3 if "ray" in first else 1e-3
        return [(Look(1.0, 100), Look(2.0, 100)), (Look(1.0 + 40 * a_row, 300), Look(2.0 + 80 * 1e-3, 500))]

    monkeypatch.setattr(overhead, "at_the_same_time", fake)
    return commands


def test_every_round_has_both_engines_beside_the_plain_command(setting, shows_both_sides, beside):
    measured = overhead.bulk_overhead(setting, n_rows=200, rounds=2)
    assert measured.value == pytest.approx(1.1)
    assert measured.reached
    shows_both_sides(measured, {"plain", "ray"}, 2)
    assert measured.sides["plain"].median == pytest.approx(1000)
    assert measured.facts["processes_over_plain"] == pytest.approx(1.0)
    assert [command[command.index("--engine") + 1] for command in beside] == ["ray", "processes"] * 2


def test_answers_that_differ_are_no_speed(setting, monkeypatch):
    def fake(first, first_writes, second, second_writes):
        for folder in (first_writes, second_writes):
            folder.mkdir()
            (folder / "answers.jsonl").write_text(str(folder), encoding="utf-8")
        return []

    monkeypatch.setattr(overhead, "at_the_same_time", fake)
    with pytest.raises(LabelwrightError, match="--engine ray does not answer as the plain command does"):
        overhead.bulk_overhead(setting, n_rows=200, rounds=1)
