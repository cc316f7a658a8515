"""Commands that are shown to be copied: what stands in a row stays one word of them."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from workbench import verbs
from workbench.progress import Display

HOSTILE = "no $(touch owned) `touch owned` \"; touch owned #\x1b]0;owned\x07 it's"


@pytest.mark.parametrize("text", ["no hot water", HOSTILE, "two\nlines", "$HOME \\ !x"])
def test_a_command_to_copy_has_the_text_as_one_word(text: str) -> None:
    words = shlex.split(verbs.try_it(Path("runs/my run/bundle"), text))
    assert words[:3] == [".venv/bin/labelwright", "predict", "runs/my run/bundle"]
    assert len(words) == 4
    assert "\n" not in words[3]


def test_what_a_finished_run_shows_runs_nothing(tmp_path: Path) -> None:
    out = io.StringIO()
    work = SimpleNamespace(
        folder=SimpleNamespace(path=tmp_path / "a run", state={}),
        recipe=SimpleNamespace(path=Path("runs/my recipe.toml")),
        display=Display(Console(file=out, width=500)),
        tracking=SimpleNamespace(uri="sqlite:///mlflow.db"),
        splits=SimpleNamespace(dev=[SimpleNamespace(text=HOSTILE)]),
    )
    verbs._show_outputs(work, 1.0)
    (line,) = (line for line in out.getvalue().splitlines() if "make predict" in line)
    words = shlex.split(line)
    assert words[:3] == ["make", "predict", "RECIPE=runs/my recipe.toml"]
    assert words[3].startswith("TEXT=no $(touch owned) `touch owned`")
    assert len(words) == 4
    assert not {"\x1b", "\x07"} & set(out.getvalue())
