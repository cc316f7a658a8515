"""Whatever a command raises is one line and an exit status, with the traceback in a file."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labelwright import console
from labelwright.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


def raising(error: BaseException):
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DataError("two\n lines \x1b[31m"), 2, r"two lines \x1b[31m"),
        (ValueError("some library's words\nand more"), 3, "unexpected ValueError: some library's words"),
        (KeyError("k"), 3, "unexpected KeyError: 'k'"),
        (AssertionError(), 3, "unexpected AssertionError: no message"),
        (RecursionError("maximum recursion depth exceeded"), 3, "unexpected RecursionError"),
        (MemoryError(), 3, "no memory left"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.jsonl"), 3, "No space left on device: out.jsonl"),
    ],
)
def test_whatever_is_raised_is_one_line(error, status, said, capsys):
    assert console.run(raising(error), "labelwright") == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("labelwright: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_the_traceback_is_in_a_file_of_its_owner(capsys):
    console.run(raising(ValueError("the cause")), "labelwright")
    path = Path(re.search(r"traceback: (.*)\)", capsys.readouterr().err)[1])
    assert "in command" in path.read_text()
    assert "ValueError: the cause" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()


def test_where_no_file_can_be_written_the_line_names_the_place(monkeypatch, capsys):
    def full(**options):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(console.tempfile, "mkstemp", full)
    assert console.run(raising(ValueError("the cause")), "labelwright") == 3
    err = capsys.readouterr().err
    assert re.search(r"raised in .*test_console\.py, line \d+", err)
    assert err.count("\n") == 1


def test_ctrl_c_says_how_to_go_on(capsys):
    assert console.run(raising(KeyboardInterrupt()), "labelwright", "interrupted; again") == 130
    assert capsys.readouterr().err == "\ninterrupted; again\n"


def test_wrong_arguments_are_one_line(capsys):
    parser = console.Parser(prog="it")
    parser.add_argument("--number", type=int)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--number", "x\x1b"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "it: error: argument --number: invalid int value: 'x\\x1b'; see it --help\n"


@pytest.mark.parametrize("module", ["labelwright.cli", "workbench"])
def test_both_programs_turn_any_exception_into_one_line(module, tmp_path):
    """A fault planted in what they call, as it would be for a stranger: a program of its own."""
    arguments = {"labelwright.cli": ["check", "nowhere"], "workbench": ["demo", "nowhere.toml"]}[module]
    planted = {"labelwright.cli": "labelwright.bundle.store", "workbench": "workbench.recipe.read"}[module]
    name = {"labelwright.cli": "verify", "workbench": "read_recipe"}[module]
    program = (
        f"import importlib, sys\nplanted = importlib.import_module({planted!r})\n"
        f"def fault(*given, **named): raise ZeroDivisionError('planted')\nplanted.{name} = fault\n"
        f"from {module.replace('workbench', 'workbench.cli')} import main\nsys.exit(main({arguments!r}))\n"
    )
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables)
    assert done.returncode == 3
    assert done.stderr.startswith("labelwright: error: unexpected ZeroDivisionError: planted (traceback: ")
    assert done.stderr.count("\n") == 1
    assert "ZeroDivisionError" in next(tmp_path.glob("labelwright-*.log")).read_text()
