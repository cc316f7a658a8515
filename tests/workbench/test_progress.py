from __future__ import annotations

import io

import pytest
from rich.console import Console

from workbench.progress import Display


def plain() -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    return Display(Console(file=out, highlight=False, soft_wrap=True), every_s=1000.0), out


def test_a_log_file_gets_begin_first_last_and_end_once_each() -> None:
    display, out = plain()
    with display.step("grpo", 3, 6):
        for done in (*range(1, 51), 50, 50):
            display.progress(done, 50, f"dev {done / 100}")
    lines = out.getvalue().splitlines()
    assert lines[0] == "[3/6] grpo …"
    assert lines[1] == "  [3/6] grpo 1/50, dev 0.01"
    assert lines[2].startswith("  [3/6] grpo 50/50, dev 0.5")
    assert lines[3].startswith("[3/6] grpo: done in")
    assert len(lines) == 4


def test_a_step_that_fails_is_not_said_to_be_done() -> None:
    display, out = plain()
    with pytest.raises(KeyboardInterrupt), display.step("gepa"):
        raise KeyboardInterrupt
    assert "gepa: stopped after" in out.getvalue()
    assert "done in" not in out.getvalue()


def test_time_left_counts_from_where_a_continued_stage_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("workbench.progress.time.monotonic", lambda: now)
    display, out = plain()
    display._every_s = 0.0
    with display.step("grpo"):
        display.progress(80, 100)
        now = 20.0
        display.progress(90, 100)
    # Ten steps took 20 s, ten are left; counted from zero, 90 steps in 20 s would promise 2 s.
    assert "grpo 90/100, 20 s left" in out.getvalue()


def test_messages_with_brackets_are_printed_as_they_are() -> None:
    display, out = plain()
    display.say("[gepa] changed [/x]")
    assert out.getvalue() == "[gepa] changed [/x]\n"


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, force_terminal=True, width=100))
    with display.step("gepa", 2, 6):
        display.progress(1, 3, "dev 0.71")
        display._bar.refresh()  # type: ignore[union-attr]
    assert "[2/6] gepa" in out.getvalue()
    assert "dev 0.71" in out.getvalue()
    assert "1/3" in out.getvalue()
