"""The commands that a person would type, in their order, and no further than the first that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.retrieval import measure


@pytest.fixture
def typed(monkeypatch, tmp_path) -> list[list[str]]:
    """What is asked of the workbench, each in the corpus' folder; a comparison in a folder "broken" fails."""
    commands: list[list[str]] = []

    def workbench(command: list[str]) -> int:
        assert Path("corpus.toml").is_file()
        commands.append(command)
        if command[0] == "retrieval":
            Path("runs/corpus/retrieval").mkdir(parents=True)
            Path("runs/corpus/retrieval/report.md").write_text("the report")
        return 2 if Path.cwd().name == "broken" else 0

    def write(kind, data, folder, seed, n_taught) -> None:
        folder.mkdir(parents=True)

    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(measure, "workbench_main", workbench)
    monkeypatch.setattr(measure, "write_corpus", write)
    return commands


def test_a_bundle_is_compared_exported_and_measured(typed, tmp_path, capsys):
    assert measure.main(["--folder", str(tmp_path / "it"), "--k", "7", "--seed", "3"]) == 0
    assert [command[0] for command in typed] == ["compare", "export", "retrieval"]
    assert "--candidate=minilm-logreg" in typed[1]
    assert "--k=7" in typed[2]
    assert (tmp_path / "it" / "corpus.toml").read_text().startswith("seed = 3\n")
    assert "the report" in capsys.readouterr().out


def test_what_fails_ends_it(typed, tmp_path):
    assert measure.main(["--folder", str(tmp_path / "broken")]) == 2
    assert len(typed) == 1


def test_data_that_is_not_there_is_one_line(tmp_path, capsys):
    assert measure.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err
