"""Commands that are shown to be copied: what stands in a row stays one word of them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from workbench import verbs

HOSTILE = "no $(touch owned) `touch owned` \"; touch owned #\x1b]0;owned\x07 it's"


@pytest.mark.parametrize("text", ["no hot water", HOSTILE, "two\nlines", "$HOME \\ !x"])
def test_a_command_to_copy_has_the_text_as_one_word(text: str) -> None:
    words = shlex.split(verbs.try_it(Path("runs/my run/bundle"), text))
    assert words[:3] == [".venv/bin/labelwright", "predict", "runs/my run/bundle"]
    assert len(words) == 4
    assert "\n" not in words[3]
