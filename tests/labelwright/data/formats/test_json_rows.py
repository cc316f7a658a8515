"""JSON documents as people and programs write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rows import read_records

from labelwright.errors import DataError

ROWS = [{"text": "a", "label": 1}, {"text": "b", "label": 2}]


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        json.dumps({"version": "1", "data": ROWS}),
        json.dumps({"text": ["a", "b"], "label": [1, 2]}),
        json.dumps({"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 2}}),
        json.dumps({"0": ROWS[0], "1": ROWS[1]}),
        json.dumps({"columns": ["text", "label"], "index": [0, 1], "data": [["a", 1], ["b", 2]]}),
        "\n".join(map(json.dumps, ROWS)),
        "\ufeff" + json.dumps(ROWS),
    ],
)
def test_rows_are_found_in_every_form(tmp_path: Path, written: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(written, encoding="utf-8")
    assert read_records(path) == ROWS


def test_one_line_of_json_lines_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS[0]))
    assert read_records(path) == ROWS[:1]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (json.dumps(["a", "b"]), "expected a list of objects"),
        ('[{"text": "a"},', "not JSON"),
        (json.dumps({"train": ROWS, "test": ROWS}), "several lists of rows ('train', 'test')"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_other_json_is_refused_in_a_line(tmp_path: Path, written: str, said: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(written)
    with pytest.raises(DataError) as caught:
        read_records(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
