"""A candidate's process: it ends with its parent, and forks only where what it holds comes through a fork."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import workbench_fakes

from workbench.compare.processes import worker


def test_where_its_parent_is_gone_a_candidate_ends() -> None:
    script = (
        "import time; from workbench.compare.processes.worker import _end_with_the_parent as watch; "
        "watch(); time.sleep(60)"
    )
    environment = workbench_fakes.environment()
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=120) == 1


def test_another_thread_does_not_come_through_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert worker._can_fork()
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert not worker._can_fork()
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr("sys.platform", "darwin")
    assert not worker._can_fork()
