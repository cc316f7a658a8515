"""From nothing to the first answer: whole commands, of three kinds of bundle."""

import pytest

from bench import startup


@pytest.fixture
def asked(monkeypatch):
    """The commands that would have been run."""
    commands = []
    monkeypatch.setattr(startup.subprocess, "run", lambda command, **_: commands.append(command))
    return commands


@pytest.mark.parametrize(
    ("part", "imports"), [("first_row", "import torch, transformers"), ("first_row_ngrams", "import numpy")]
)
def test_the_command_that_a_person_types_is_timed(part, imports, setting, shows_both_sides, asked):
    measured = getattr(startup, part)(setting, rounds=2)
    shows_both_sides(measured, {"first row", imports}, 2)
    assert measured.at_most
    # Two that warm up, then in turn.
    kinds = [command[-1] == imports for command in asked]
    assert kinds == [False, False, False, True, False, True]
    assert asked[0][1:4] == ["-m", "labelwright.cli", "predict"]
    assert asked[0][-1] == setting.examples[0].text
