"""The demo's peak memory: read off a finished run, or watched."""

import json
import sys
from pathlib import Path

import pytest

from bench import memory
from labelwright.errors import LabelwrightError
from workbench.recipe.recipe import read_recipe


def test_memory_is_read_off_the_newest_finished_run(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    states = {
        "20260101-000000": {"finished": True, "steps": [{"folder": "0-untuned", "peak_memory_bytes": 5}]},
        "20260102-000000": {
            "finished": True,
            "steps": [{"folder": "0-untuned", "peak_memory_bytes": 7}, {"folder": "1-grpo", "peak_memory_bytes": 9}],
        },
        "20260103-000000": {"steps": [{"folder": "0-untuned", "peak_memory_bytes": 11}]},
    }
    for stamp, state in states.items():
        folder = Path("runs/toy") / stamp
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    measured = memory.peak_memory_demo(recipe)
    assert measured.value == 9
    assert measured.facts["source"] == "finished run 20260102-000000"
    assert measured.facts["by_step"] == {"0-untuned": 7, "1-grpo": 9}


def test_without_a_finished_run_a_shortened_demo_is_watched(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        memory, "peak_of", lambda command, folder: seen.append(read_recipe(folder / "memory.toml")) or 3
    )
    measured = memory.peak_memory_demo(recipe)
    assert measured.value == 3
    assert measured.facts["source"] == "shortened demo"
    short = seen[0]
    assert short.stage("grpo").steps == 2
    assert short.stage("grpo").mode == "exact"
    assert short.data.path == read_recipe(recipe).data.path
    assert short.model == read_recipe(recipe).model


def test_the_recipe_that_ships_can_be_shortened(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(memory.shortened(Path("runs/homeowner.toml")), encoding="utf-8")
    short, whole = read_recipe(path), read_recipe("runs/homeowner.toml")
    assert short.stage("gepa").max_metric_calls < whole.stage("gepa").max_metric_calls
    assert short.stage("grpo").rows_per_step == whole.stage("grpo").rows_per_step
    assert Path(short.data.path).is_absolute()


def test_a_childs_peak_is_its_own(tmp_path):
    """The child's memory counts, this process's does not."""
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    small = memory.peak_of([sys.executable, "-c", "pass"], tmp_path)
    large = memory.peak_of([sys.executable, "-c", "b'x' * 100_000_000"], tmp_path)
    assert small < 60_000_000
    assert large - small > 80_000_000


def test_a_demo_that_fails_says_what_it_said(tmp_path):
    with pytest.raises(LabelwrightError, match="no such luck"):
        memory.peak_of([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path)
