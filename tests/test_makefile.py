"""What a person gives to make arrives as typed: real make, with a stand-in for Python that prints what it is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copy(MAKEFILE, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    python.chmod(0o755)
    for name in ("constraints.txt", "pyproject.toml", ".venv/.ready"):
        (tmp_path / name).touch()
    os.utime(tmp_path / "constraints.txt", (0, 0))
    os.utime(tmp_path / "pyproject.toml", (0, 0))
    return tmp_path


def make(folder: Path, *arguments: str, **variables: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, env={**environment, **variables}, check=True
    )
    return json.loads(done.stdout)


TEXTS = [
    "no hot water",
    "costs $50",
    "costs $$50 ${HOME} $(HOME)",
    "$(shell touch owned)",
    "`touch owned` $(touch owned); touch owned",
    'it\'s "quoted" \\ # % ! é 👍',
    "-5 degrees",
    "--help",
    "two\nlines",
    " spaces  around ",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_text_arrives_as_typed(folder, text, by):
    said = make(folder, "predict", f"TEXT={text}") if by == "argument" else make(folder, "predict", TEXT=text)
    # make itself leaves out white space between "=" and what follows.
    assert said[4] == f"--text={text.lstrip() if by == 'argument' else text}"
    assert not (folder / "owned").exists()


@pytest.mark.parametrize("given", ["runs/my tickets.toml", "it's.toml", "$(shell touch owned).toml", "a;touch owned"])
def test_names_are_one_word(folder, given):
    assert make(folder, "compare", f"RECIPE={given}", f"RUN={given}", f"CANDIDATE={given}") == [
        "-m", "workbench", "compare", given, f"--run={given}", f"--candidate={given}",
    ]  # fmt: skip
    assert not (folder / "owned").exists()


def test_what_is_not_given_is_left_out(folder):
    assert make(folder, "export") == ["-m", "workbench", "export", "runs/homeowner.toml"]
    # Whether or not a verb takes it: one that does not says so.
    for verb in ("synthesize", "review", "dashboard"):
        assert make(folder, verb, "FORCE=1", "RUN=1-2", "CANDIDATE=a")[4:7] == ["--run=1-2", "--force", "--candidate=a"]
    assert make(folder, "demo", "FORCE=1", "RUN=1-2")[3:] == ["runs/homeowner.toml", "--run=1-2", "--force"]


def test_a_server_has_the_port_that_was_typed(folder):
    assert make(folder, "serve", "PORT=9001")[2:] == ["serve", "runs/homeowner.toml", "--port=9001"]
    assert make(folder, "serve")[-1] == "--port=8080"


@pytest.mark.parametrize("given", ["my tickets.csv", "it's.csv", "$(shell touch owned).csv", "a;touch owned", "a, b"])
def test_a_new_recipe_gets_what_was_typed(folder, given):
    said = make(
        folder, "new", *(f"{name}={given}" for name in ("DATA", "TEST", "NAME", "LABEL", "GROUP", "CONFIG", "TEXT"))
    )
    options = [f"--{one}={given}" for one in ("test", "name", "label", "group", "config", "text")]
    assert said == ["-m", "workbench", "new", given, *options]
    assert not (folder / "owned").exists()


def test_a_pool_and_a_filled_sheet_arrive_as_typed(folder):
    given = "$(shell touch owned) it's.csv"
    names = {"POOL": "pool", "LABELS": "labels", "N": "n", "SHARE": "share", "OUT": "out", "MINUTES": "minutes"}
    said = make(folder, "next-rows", *(f"{name}={given}" for name in (*names, "TEXT")))
    options = [f"--{name}={given}" for name in (*names.values(), "text")]
    assert said == ["-m", "workbench", "next-rows", "runs/homeowner.toml", *options]
    assert make(folder, "next-rows", "POOL=a.csv", N="9", OUT="x", LABELS="y")[3:] == [
        "runs/homeowner.toml", "--pool=a.csv",
    ]  # fmt: skip
    assert not (folder / "owned").exists()


def test_a_corpus_arrives_as_typed(folder):
    given = "$(shell touch owned) it's.csv"
    names = ("DOCUMENTS", "QUERIES", "RELEVANT", "BUNDLE", "TAUGHT", "ENCODER", "K", "OUT")
    said = make(folder, "retrieval", *(f"{name}={given}" for name in names))
    options = [f"--{name.lower()}={given}" for name in names]
    assert said == ["-m", "workbench", "retrieval", "runs/homeowner.toml", *options]
    assert make(folder, "retrieval", "DOCUMENTS=a.csv", QUERIES="b", K="9", BUNDLE="x")[4:] == ["--documents=a.csv"]
    assert not (folder / "owned").exists()


def test_names_in_the_environment_are_not_meant(folder):
    assert make(folder, "new", "DATA=a.csv", NAME="host", TEST="1", TEXT="x") == ["-m", "workbench", "new", "a.csv"]
    assert make(folder, "new", "DATA=a.csv", "FORCE=1")[3:] == ["a.csv", "--force"]
    machine = {"RUN": "1", "FORCE": "1", "CANDIDATE": "x", "MINUTES": "9", "PORT": "80", "DATA": "/data"}
    for verb in ("demo", "compare"):
        assert make(folder, verb, **machine) == ["-m", "workbench", verb, "runs/homeowner.toml"]
    assert make(folder, "serve", **machine)[-1] == "--port=8080"
    assert make(folder, "dashboard", **machine)[-1] == "--port=5000"
    assert make(folder, "new", **machine)[2:] == ["new", ""]
