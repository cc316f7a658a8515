"""Commands in turns: they are small scripts here."""

import itertools
import sys

import psutil
import pytest

from bench.bulk import turns
from bench.bulk.turns import Look, beside_rows, of_all_rows, watched
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

# Notes the time, often, for 0.8 s of its own.
NOTES = """
import sys, time
with open(sys.argv[1], "w", buffering=1) as file:
    while time.process_time() < 0.8:
        file.write(f"{time.time()}\\n")
        end = time.process_time() + 2e-3
        while time.process_time() < end: pass
"""


def writes(folder, begins_s, a_row_s, n_rows, name=".answers.jsonl.unfinished"):
    return [sys.executable, "-c", WRITES, str(folder / name), *map(str, (begins_s, a_row_s, n_rows))]


def alone(command, folder):
    return watched({"one": command}, {"one": folder})["one"]


@pytest.mark.parametrize("name", [".answers.jsonl.unfinished", "parts/.part-00000.1-1.tmp.jsonl"])
def test_a_row_is_what_is_taken_while_answers_are_written_and_no_start(tmp_path, name):
    (tmp_path / "parts").mkdir()
    (tmp_path / "counts.json").write_text("{}" * 1000, encoding="utf-8")
    looks = alone(writes(tmp_path, 0.8, 2e-3, 600, name), tmp_path)
    assert 0 < looks[0].n_bytes < 3000
    assert of_all_rows(looks, 6000) == pytest.approx(600 * 2e-3, rel=0.25)


def test_what_a_command_starts_counts(tmp_path):
    """A row's work is another process's, which nobody waits for."""
    by_another = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WRITES!r}, *sys.argv[1:]])"
    command = [sys.executable, "-c", by_another, *writes(tmp_path, 0.1, 2e-3, 600)[3:]]
    assert of_all_rows(alone(command, tmp_path), 6000) == pytest.approx(600 * 2e-3, rel=0.25)


def test_begin_and_end_do_not_count_and_what_was_not_looked_at_is_no_measurement():
    looks = [Look(5.0, 0), Look(5.5, 10), Look(6.0, 200), Look(7.0, 400), Look(8.0, 600), Look(20.0, 990)]
    assert of_all_rows(looks, 1000) == pytest.approx(5.0)
    assert beside_rows(looks, 1000) == pytest.approx(15.0)
    for few in ([], looks[:3], [*looks[:3], Look(9.0, 200)]):
        with pytest.raises(LabelwrightError, match="over before it was looked at twice; take more rows"):
            of_all_rows(few, 1000)


def test_a_command_that_fails_is_its_last_line(tmp_path):
    with pytest.raises(LabelwrightError, match=r"^gone wrong$"):
        alone([sys.executable, "-c", "import sys; sys.exit('first\\ngone wrong')"], tmp_path)
    with pytest.raises(LabelwrightError, match="a command ended with 3"):
        alone([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path)


def test_commands_take_turns_and_none_works_beside_another(tmp_path, monkeypatch):
    """Each notes when it is at work: with its child, which does that work, it stands still in the others' turns."""
    monkeypatch.setattr(turns, "TURN_S", 0.2)
    by_another = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {NOTES!r}, *sys.argv[1:]])"
    folders = {name: tmp_path / name for name in ("first", "second", "third")}
    commands = {}
    for name, folder in folders.items():
        folder.mkdir()
        commands[name] = [sys.executable, "-c", by_another, str(folder / "answers.jsonl")]
    looks = watched(commands, folders)
    assert all(one for one in looks.values())
    noted = [
        (float(line), name)
        for name, folder in folders.items()
        for line in (folder / "answers.jsonl").read_text(encoding="utf-8").split()
    ]
    # By the clock, who works changes at the ends of turns alone; before them each runs alone.
    who = [name for _, name in sorted(noted)]
    n_changes = sum(a != b for a, b in itertools.pairwise(who))
    assert 6 <= n_changes <= 3 * 0.8 / 0.2 + 6


def test_nothing_is_left_at_work_or_stopped_where_one_fails(tmp_path):
    folders = {"works": tmp_path / "works", "fails": tmp_path / "fails"}
    for folder in folders.values():
        folder.mkdir()
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    commands = {
        "works": writes(folders["works"], 0, 1e-3, 100_000),
        "fails": [sys.executable, "-c", "import sys; sys.exit('no')"],
    }
    with pytest.raises(LabelwrightError, match=r"^no$"):
        watched(commands, folders)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
