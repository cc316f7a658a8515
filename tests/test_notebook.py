"""The notebook in docs runs, and shows what is shown today."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import notebook
import pytest
import workbench_fakes
from fakes import toy_examples

from workbench.first import write
from workbench.first.text import Line

PAGE = Path(__file__).parents[1] / "docs" / "first_run.ipynb"


def kinds(cell: dict[str, Any]) -> list[str]:
    """Of what a cell shows: media types, and the heads of tables."""
    found = [media for output in cell["outputs"] for media in sorted(output.get("data", {}))]
    text = "".join("".join(output.get("data", {}).get("text/html", "")) for output in cell["outputs"])
    heads = "".join(re.findall(r"<thead>.*?</thead>", text, flags=re.DOTALL))
    return found + re.findall(r"<th>([a-z][^<]*)</th>", heads)


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the fakes, from the same cells."""
    monkeypatch.chdir(tmp_path)
    workbench_fakes.install(monkeypatch.setattr)
    workbench_fakes.without_tracking(monkeypatch.setattr)
    monkeypatch.setattr(write, "propose", lambda *given: proposed())
    rows = [{"id": row.id, "text": row.text, "label": row.label, "group": row.group} for row in toy_examples()]
    place = tmp_path / "data" / "homeowner" / "homeowner.jsonl"
    place.parent.mkdir(parents=True)
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = json.loads(PAGE.read_text(encoding="utf-8"))
    kept = [cell for cell in page["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in kept), "run it: python tests/notebook.py docs/first_run.ipynb"
    done = list(notebook.run(page))
    assert [kinds(cell) for cell in done] == [kinds(cell) for cell in kept]


def proposed() -> dict[str, list[Line]]:
    """What the fakes can do, in place of what is proposed for so many rows."""
    found: dict[str, list[Line]] = {name: [] for name in ("", "data", "splits", "model", "models", "compare", "export")}
    return found | {
        "": [Line("stages", ["gepa", "grpo", "calibrate"], "")],
        "baselines": [Line("names", ["majority", "words"], "")],
        "compare": [Line("bootstrap", 200, "")],
    }
