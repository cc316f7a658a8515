"""`labelwright extract`: a line an image, null with a reason, and a bundle for an enumeration."""

from __future__ import annotations

import json

import pytest
from fakes import FakeEngine, toy_bundle, toy_task
from pictures import FakeOcr, folder_of_images

import labelwright.engines.opening
from labelwright.bundle.store import save
from labelwright.cli import main
from labelwright.pictures import kept


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELWRIGHT_OCR_CACHE", "off")
    monkeypatch.setattr(kept, "Ocr", FakeOcr)
    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda *_, **__: FakeEngine())
    folder_of_images(tmp_path, {"a.png": "Total: 12.50\nTopic: the skimmer", "b.png": "Total: some"})
    schema = {"total": {"type": "number"}, "topic": {"enum": list(toy_task().names)}}
    (tmp_path / "s.json").write_text(json.dumps({"type": "object", "properties": schema}))
    save(toy_bundle(), tmp_path / "bundle")
    return tmp_path


def run(folder, *more, images=("a.png", "b.png")) -> int:
    paths = [str(folder / name) for name in images]
    return main(["extract", "--schema", str(folder / "s.json"), "--images", *paths, *more])


def test_values_come_out_a_line_an_image(folder, capsys):
    assert run(folder, "--bundle", f"topic={folder / 'bundle'}") == 0
    out, err = capsys.readouterr()
    first, second = map(json.loads, out.splitlines())
    assert first == {"image": str(folder / "a.png"), "data": {"total": 12.5, "topic": "pool"}, "missing": {}}
    assert second["data"] == {"total": None, "topic": None}
    assert "total: found in 1 of 2 images: 1 times expected one number" in err


def test_an_image_that_cannot_be_read_costs_no_other(folder, capsys):
    (folder / "bad.png").write_text("no image")
    assert run(folder, images=("bad.png", "a.png")) == 1
    out, err = capsys.readouterr()
    bad, good = map(json.loads, out.splitlines())
    assert (bad["data"], "no known kind" in bad["error"], good["data"]["total"]) == (None, True, 12.5)
    assert "bad.png: the image is of no known kind" in err


@pytest.mark.parametrize("said", ["topic", "total={}", "other={}"])
def test_a_bundle_is_for_an_enumeration(folder, said, capsys):
    assert run(folder, "--bundle", said.format(folder / "bundle")) == 2
    assert "expected FIELD=FOLDER of an enumeration; the schema has topic" in capsys.readouterr().err


def test_a_bundle_of_other_labels_is_refused(folder, capsys):
    schema = {"type": "object", "properties": {"topic": {"enum": ["pool", "roof"]}}}
    (folder / "s.json").write_text(json.dumps(schema))
    assert run(folder, "--bundle", f"topic={folder / 'bundle'}") == 2
    assert "its labels are not among the values of 'topic'" in capsys.readouterr().err


def test_lines_go_to_a_file(folder):
    assert run(folder, "--output", str(folder / "out.jsonl")) == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) == 2
    assert run(folder, "--output", str(folder / "out.csv")) == 2
