"""Commands that are shown to be copied: what stands in a row stays one word of them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelwright.bundle.store import load, save
from labelwright.data.costs import Costs
from labelwright.decisions.asked import Asked
from labelwright.decisions.promise import Promise
from labelwright.errors import DataError
from labelwright.serve import running
from workbench import verbs
from workbench.progress import Display
from workbench.recipe.read import read_recipe

ROOT = Path(__file__).parents[2]
NGRAMS = ROOT / "tests" / "labelwright" / "bundle" / "older" / "ngrams"
RECIPE = """
name = "toy"
[data]
path = "rows.jsonl"
[task]
instructions = "Which?"
labels = ["pool", "fence", "hvac"]
"""

HOSTILE = "no $(touch owned) `touch owned` \"; touch owned #\x1b]0;owned\x07 it's"


@pytest.mark.parametrize("text", ["no hot water", HOSTILE, "two\nlines", "$HOME \\ !x"])
def test_a_command_to_copy_has_the_text_as_one_word(text: str) -> None:
    words = shlex.split(verbs.try_it(Path("runs/my run/bundle"), text))
    assert words[:3] == [".venv/bin/labelwright", "predict", "runs/my run/bundle"]
    assert len(words) == 4
    assert "\n" not in words[3]


def the_run(tmp_path: Path, **changes: Any) -> Path:
    """A run of which a bundle was exported."""
    run = tmp_path / "runs" / "toy" / "20260101-000000"
    run.mkdir(parents=True)
    bundle = load(NGRAMS)
    save(replace(bundle, task=replace(bundle.task, costs=changes.pop("costs", None)), **changes), run / "bundle")
    (run / "state.json").write_text(json.dumps({"steps": [], "export": {"candidate": "sgd-ngrams"}}))
    (tmp_path / "toy.toml").write_text(RECIPE)
    return run / "bundle"


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        (Costs(abstain=1e-6), "no label (a person is cheaper); it would have been pool"),
        (Costs((("fence", "pool", 1e6),)), "fence, which is expected to cost least"),
    ],
)
def test_predict_says_what_the_bundle_decides(
    costs: Costs, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    the_run(tmp_path, costs=costs)
    verbs.predict(read_recipe("toy.toml"), "", "the pool is green", Display())
    assert capsys.readouterr().out.splitlines()[0] == said


def test_serve_refuses_a_promise_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = the_run(tmp_path, promise=Promise(n_fitted=40, asked=Asked(max_error=0.05)))
    monkeypatch.setattr(running, "serve", lambda folders, opener, *rest: opener(*folders))
    with pytest.raises(DataError, match=f"{path.parent.name}/bundle: at most 5 % .* cannot be promised"):
        verbs.serve(read_recipe("toy.toml"), "", 0)


def test_serve_answers_with_the_runs_bundle_until_it_is_told_to_end(tmp_path: Path) -> None:
    """The verb behind `make serve`, as a process: what was exported answers."""
    run = tmp_path / "runs" / "toy" / "20260101-000000"
    run.mkdir(parents=True)
    shutil.copytree(NGRAMS, run / "bundle")
    (run / "state.json").write_text(json.dumps({"steps": [], "export": {"candidate": "sgd-ngrams"}}))
    (tmp_path / "toy.toml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text("")
    command = [sys.executable, "-m", "workbench", "serve", "toy.toml", "--port=0"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as started:
        try:
            assert started.stdout is not None
            url = next(line for line in started.stdout if line.startswith("http://")).split()[0]

            def said(path: str, body: object = None) -> object:
                data = None if body is None else json.dumps(body).encode()
                asked = urllib.request.Request(url + path, data, {"content-type": "application/json"})
                with urllib.request.urlopen(asked, timeout=120) as answer:
                    return json.loads(answer.read())

            assert said("/ready")
            labels = said("/predict", {"inputs": "the pool is green"})
            assert labels[0]["label"] == "pool"
            started.send_signal(signal.SIGTERM)
            assert started.wait(20) == 0
        finally:
            started.kill()
