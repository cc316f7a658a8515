"""What a row costs over Ray is told beside the plain command's; commands are fakes, one real one is watched."""

import sys
from pathlib import Path

import pytest

from bench.bulk import overhead
from labelwright.errors import LabelwrightError


@pytest.fixture
def asked(monkeypatch):
    """The commands that would have been run: the start takes 2 s, a row 1 ms, a tenth more over Ray.

    The third command and the last are disturbed.
    """
    commands = []

    def fake(command):
        commands.append(command)
        rows, output = command[command.index("--input") + 1], command[command.index("--output") + 1]
        n_rows = len(Path(rows).read_text(encoding="utf-8").splitlines())
        Path(output).write_text(rows, encoding="utf-8")
        disturbed = 0.02 if len(commands) in (3, 12) else 0.0
        return 2.0 + disturbed + n_rows * (1.1e-3 if "ray" in command else 1e-3)

    monkeypatch.setattr(overhead, "processor_seconds", fake)
    return commands


def test_the_start_is_left_out_and_the_rows_are_compared(setting, shows_both_sides, asked):
    measured = overhead.bulk_overhead(setting, n_rows=200, rounds=2)
    assert measured.value == pytest.approx(1.1)
    assert measured.reached
    shows_both_sides(measured, {"plain", "ray", "processes"}, 2)
    assert measured.facts["processes_over_plain"] == pytest.approx(1.0)
    assert len(asked) == 2 * 2 * 3
    assert [command.count("ray") for command in asked[:6]] == [0, 0, 1, 1, 0, 0]


def test_answers_that_differ_are_no_speed(setting, monkeypatch):
    def fake(command):
        Path(command[command.index("--output") + 1]).write_text("ray" if "ray" in command else "", encoding="utf-8")
        return 1.0

    monkeypatch.setattr(overhead, "processor_seconds", fake)
    with pytest.raises(LabelwrightError, match="--engine ray does not answer as the plain command does"):
        overhead.bulk_overhead(setting, n_rows=200, rounds=1)


def test_processes_that_a_command_starts_count():
    work = "import time\nwhile time.process_time() < 0.4: pass"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    assert overhead.processor_seconds([sys.executable, "-c", start]) >= 0.3
    with pytest.raises(LabelwrightError, match="gone wrong"):
        overhead.processor_seconds([sys.executable, "-c", "import sys; sys.exit('gone wrong')"])
