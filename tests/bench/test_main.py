"""The command: what it writes, what it shows, what it refuses."""

import io
import json

import pytest
import torch
from rich.console import Console

from bench import __main__ as command
from bench.timing import Side, ratio


def test_the_command_writes_what_it_measured(recipe, tmp_path, capsys):
    out = tmp_path / "new" / "results.json"
    code = command.main(["--quick", "--only", "latency", "expansion", "--recipe", str(recipe), "--out", str(out)])
    assert code == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert list(written["measurements"]) == ["latency", "expansion"]
    assert written["quick"] is True
    assert written["machine"]["torch"] == torch.__version__
    assert "latency" in capsys.readouterr().err


def test_rounds_are_as_many_as_are_asked_for_and_one_where_it_is_to_be_quick(setting, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("bench.setting.open_setting", lambda path: setting)
    monkeypatch.setattr(
        "bench.bulk.overhead.bulk_overhead", lambda setting, rounds: seen.append(rounds) or ratio("x", [1], sides={})
    )
    given = ["--only", "bulk_overhead", "--out", str(tmp_path / "results.json")]
    for more in ([], ["--rounds", "7"], ["--quick", "--rounds", "7"]):
        assert command.main([*given, *more]) == 0
    assert seen == [command.ROUNDS, 7, 1]


def test_no_rounds_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--rounds", "0"])
    assert "--rounds 0: expected at least 1" in capsys.readouterr().err


def test_a_wrong_recipe_is_one_line(tmp_path, capsys):
    assert command.main(["--recipe", str(tmp_path / "none.toml"), "--only", "latency"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_table_has_a_line_for_every_measurement():
    console = Console(width=200, record=True, file=io.StringIO())
    measured = ratio("speed", [4.0, 5.0], goal=3.0, sides={"ours": Side("rows/s", (2500.0,))})
    console.print(command._table([measured]))
    text = console.export_text()
    assert "speed" in text
    assert "2500 rows/s" in text
    assert "yes" in text
