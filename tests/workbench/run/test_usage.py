"""What a process costs: its own memory, not its parent's; and how busy others kept the machine meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import workbench_fakes

from workbench.run import usage as measuring
from workbench.run.usage import Load, forget_peak_memory, most, peak_memory_bytes

ASKS = "from workbench.run.usage import peak_memory_bytes as peak; print(peak())"
LARGE_PARENT = f"""
import subprocess, sys
held = b"x" * 500_000_000
{ASKS}
print(subprocess.run([sys.executable, "-c", {ASKS!r}], capture_output=True, text=True, check=True).stdout)
"""


def test_a_small_child_of_a_large_parent_is_small() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LARGE_PARENT],
        capture_output=True,
        text=True,
        check=True,
        env=workbench_fakes.environment(),
    )
    parent, child = map(int, said.stdout.split())
    assert parent > 500e6
    assert child < 100e6


def test_a_peak_can_begin_again() -> None:
    held = b"x" * 200_000_000
    with_it = peak_memory_bytes()
    del held
    assert peak_memory_bytes() > 0.95 * with_it
    if forget_peak_memory():
        assert peak_memory_bytes() < with_it - 100e6


def test_where_the_kernel_keeps_no_mark_the_usual_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(measuring, "_CLEAR", tmp_path / "none" / "none")
    assert peak_memory_bytes() > 1e6
    assert not forget_peak_memory()


def test_only_others_work_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"busy": iter([100.0, 105.0]), "own": iter([7.0, 9.0]), "now": iter([50.0, 52.0])}
    monkeypatch.setattr(measuring, "_busy_s", lambda: next(clock["busy"]))
    monkeypatch.setattr(time, "process_time", lambda: next(clock["own"]))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock["now"]))
    monkeypatch.setattr(measuring.os, "cpu_count", lambda: 4)
    with Load(before_s=0) as load:
        pass
    # Five seconds of work in two, two of them ours.
    assert load.others_busy_cores == 1.5


def test_a_busy_neighbour_is_noticed() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Load(before_s=0.5) as load:
            pass
    finally:
        busy.kill()
        busy.wait()
    assert load.others_busy_cores is not None
    assert load.others_busy_cores > 0.4


def test_a_load_that_is_not_known_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_busy_s", lambda: None)
    with Load() as load:
        pass
    assert load.others_busy_cores is None
    assert most([None, 0.5, None, 1.5]) == 1.5
    assert most([None]) is None
