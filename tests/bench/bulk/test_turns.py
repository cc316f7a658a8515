"""Commands in turns: they are small scripts here."""

import itertools
import signal
import sys
import time

import psutil
import pytest

from bench.bulk import turns
from bench.bulk.turns import Look, Turn, in_all, of_all_rows, watched
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
BY_ANOTHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}, *sys.argv[1:]])"
# Notes its child's number, and ends before it; the child writes.
ORPHAN = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1], '0', '1e-3', '100000'])
open(sys.argv[3], 'w').write(str(child.pid))
time.sleep(2)
"""


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    """Commands are over within a second or two here."""
    monkeypatch.setattr(turns, "TURN_S", 0.2)


def writes(folder, begins_s, a_row_s, n_rows, name=".answers.jsonl.unfinished"):
    return [sys.executable, "-c", WRITES, str(folder / name), *map(str, (begins_s, a_row_s, n_rows))]


def alone(command, folder):
    return watched({"one": command}, {"one": folder})


@pytest.fixture
def folders(tmp_path):
    made = {name: tmp_path / name for name in ("first", "second", "third")}
    for folder in made.values():
        folder.mkdir()
    return made


@pytest.mark.parametrize("name", [".answers.jsonl.unfinished", "parts/.part-00000.1-1.tmp.jsonl"])
def test_a_row_is_what_is_taken_while_answers_are_written_and_no_start(tmp_path, name):
    (tmp_path / "parts").mkdir()
    (tmp_path / "counts.json").write_text("{}" * 1000, encoding="utf-8")
    rounds = alone(writes(tmp_path, 0.8, 2e-3, 600, name), tmp_path)
    assert of_all_rows(rounds, {"one": 6000})["one"] == pytest.approx(600 * 2e-3, rel=0.25)
    assert 0.8 + 1.1 < in_all(rounds, "one") < 3.5


def test_what_a_command_starts_counts(tmp_path):
    """A row's work is another process's, which nobody waits for."""
    command = [sys.executable, "-c", BY_ANOTHER.format(WRITES), *writes(tmp_path, 0.1, 2e-3, 600)[3:]]
    assert of_all_rows(alone(command, tmp_path), {"one": 6000})["one"] == pytest.approx(600 * 2e-3, rel=0.25)


def test_commands_take_turns_and_none_works_beside_another(folders):
    """Each notes when it is at work: with its child, which does that work, it stands still in the others' turns."""
    commands = {
        name: [sys.executable, "-c", BY_ANOTHER.format(NOTES), str(folder / "answers.jsonl")]
        for name, folder in folders.items()
    }
    n_turns = sum(len(one) for one in watched(commands, folders))
    noted = sorted(
        (float(line), name)
        for name, folder in folders.items()
        for line in (folder / "answers.jsonl").read_text(encoding="utf-8").split()
    )
    # By the clock, who works changes at the ends of turns alone; before them each runs alone. At once they would change
    # with every other line, of which there are a thousand.
    n_changes = sum(a != b for a, b in itertools.pairwise(name for _, name in noted))
    assert 6 <= n_changes <= n_turns + len(folders)


def gone(pid, within_s=10.0):
    until = time.monotonic() + within_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_nothing_is_left_at_work_or_stopped_where_one_fails(folders, tmp_path):
    """Of the first a child is left, which nobody is the parent of any more."""
    output, noted = folders["first"] / "answers.jsonl", tmp_path / "pid"
    commands = {
        "first": [sys.executable, "-c", ORPHAN, str(output), WRITES, str(noted)],
        "second": [sys.executable, "-c", "import sys, time; time.sleep(4); sys.exit('first\\nno')"],
    }
    with pytest.raises(LabelwrightError, match=r"^no$"):
        watched(commands, {name: folders[name] for name in commands})
    assert gone(int(noted.read_text(encoding="utf-8")))


def test_nothing_is_left_where_it_is_interrupted_while_it_stops_them(tmp_path, monkeypatch):
    suspend = psutil.Process.suspend
    asked = []

    def interrupted(process):
        asked.append(process.pid)
        suspend(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(psutil.Process, "suspend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        alone(writes(tmp_path, 0, 1e-3, 100_000), tmp_path)
    assert asked
    assert all(map(gone, asked))


def test_a_signal_to_end_is_an_end_in_order(tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(turns._Watched, "turn", lambda self: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit):
        alone(writes(tmp_path, 0, 1e-3, 100_000), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not [one for one in psutil.Process().children() if one.status() == psutil.STATUS_STOPPED]


def test_a_command_that_fails_is_its_last_line(tmp_path):
    with pytest.raises(LabelwrightError, match=r"^gone wrong$"):
        alone([sys.executable, "-c", "import sys; sys.exit('first\\ngone wrong')"], tmp_path)
    with pytest.raises(LabelwrightError, match="a command ended with 3"):
        alone([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path)


def test_a_command_without_answers_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "_START_S", 0.5)
    with pytest.raises(LabelwrightError, match=r"one has no answer after 0\.5 s"):
        alone([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    monkeypatch.setattr(turns, "_START_S", 60)
    monkeypatch.setattr(turns, "_WHOLE_S", 0.5)
    with pytest.raises(LabelwrightError, match=r"one: not over after 0\.5 s"):
        alone(writes(tmp_path, 0, 1e-3, 100_000), tmp_path)


def turn(begin_s, begin_bytes, end_s, end_bytes):
    return Turn(Look(begin_s, begin_bytes), Look(end_s, end_bytes))


def test_turns_count_where_all_write_answers():
    rounds = [
        {"a": turn(0, 0, 5, 100), "b": turn(0, 0, 9, 300)},
        {"a": turn(5, 100, 6, 200), "b": turn(9, 300, 10, 350)},
        {"a": turn(6, 200, 7, 400), "b": turn(10, 350, 12, 450)},
        {"a": turn(7, 400, 8, 600), "b": turn(12, 450, 14, 550)},
        {"a": turn(8, 600, 99, 990), "b": turn(14, 550, 15, 600)},
        {"b": turn(15, 600, 50, 1000)},
    ]
    sizes = {"a": 1000, "b": 1000}
    assert of_all_rows(rounds, sizes) == pytest.approx({"a": 5.0, "b": 20.0})
    assert of_all_rows(rounds, sizes, 0.1) == pytest.approx({"a": 6.0, "b": 20.0})
    assert (in_all(rounds, "a"), in_all(rounds, "b")) == (99, 50)
    with pytest.raises(LabelwrightError, match="over before all had their turns; take more rows"):
        of_all_rows(rounds[:2], sizes)
