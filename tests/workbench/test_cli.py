"""What a command does that `accelerate launch` started several times."""

import pytest

from labelwright.console import BAD_INPUT
from workbench import cli


@pytest.mark.parametrize("verb", ["compare", "optimize", "export"])
def test_a_verb_that_trains_nothing_is_refused_once(verb, monkeypatch, capsys):
    """By the first process; the other says nothing, and neither waits for the other."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert cli.main([verb, "toy.toml"]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"labelwright: error: {verb} was started in 2 processes, which only demo and train use")


def test_a_launch_that_parts_the_model_is_refused(monkeypatch, capsys):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["train", "toy.toml"]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("labelwright: error: accelerate is configured for FSDP, which parts a model")


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "many", "RANK": "x"}])
def test_one_process_is_no_group(environment, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["compare", "ghost.toml"]) == BAD_INPUT
    assert "ghost.toml" in capsys.readouterr().err
