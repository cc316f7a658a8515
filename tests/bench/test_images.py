"""The bench of rows with images: every way comes to the same scores, and a line for each ratio."""

from pathlib import Path

from tiny_vision import tiny_vision_folder

from bench import images

ROOT = Path(__file__).resolve().parents[2]


def test_it_prints_ratios_of_ways_that_agree(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LABELWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ROOT)
    folder = tiny_vision_folder(tmp_path / "model")
    assert images.main([str(folder), "--rows", "2", "--rounds", "1", "--size", "48", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all("18 options; scores differ by at most" in line for line in lines)
    assert all(float(line.rsplit(" ", 1)[1]) < 1e-3 for line in lines)


def test_a_model_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert images.main(["no model"]) == 2
    assert capsys.readouterr().err.startswith("error: model 'no model'")
