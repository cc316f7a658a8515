"""What a command does that `accelerate launch` started several times."""

import os

import pytest

from labelwright.console import BAD_INPUT
from optimizers.training.processes.group import Group
from workbench import api, cli

RECIPE = """
stages = ["gepa", "sft", "grpo", "calibrate"]
[data]
path = "rows.csv"
{data}
[task]
instructions = "Name the topic."
labels = ["pool", "garden"]
[sft]
rows_per_step = 16
[baselines]
names = ["majority"]
"""
IMAGES = 'image = "photo"\nimage_read_by = "model"'


@pytest.mark.parametrize("verb", ["compare", "optimize", "export"])
def test_a_verb_that_trains_nothing_is_refused_once(verb, monkeypatch, capsys):
    """By the first process; the other says nothing, and neither waits for the other."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert cli.main([verb, "toy.toml"]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"labelwright: error: {verb} was started in 2 processes, which only demo and train use")


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        (["ACCELERATE_USE_DEEPSPEED"], "for DeepSpeed, which parts a model in a way that is not followed"),
        (["ACCELERATE_USE_FSDP", "ACCELERATE_USE_PARALLELISM_CONFIG"], "for a parallelism config, which parts a model"),
        (["ACCELERATE_USE_FSDP", "FSDP_OFFLOAD_PARAMS"], "with fsdp_offload_params = true, which is not followed"),
    ],
)
def test_a_launch_that_parts_the_model_otherwise_is_refused(configured, said, monkeypatch, capsys):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", **dict.fromkeys(configured, "true")}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["train", "toy.toml"]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"labelwright: error: accelerate is configured {said}")


def test_one_process_holds_the_whole_model_whatever_is_configured(monkeypatch):
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["train", "ghost.toml"]) == BAD_INPUT
    assert "ACCELERATE_USE_FSDP" not in os.environ


def test_a_stage_that_trains_all_weights_is_refused_where_they_are_sharded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(Group, "leave", lambda group: None)
    monkeypatch.setattr(api, "Run", lambda *_: pytest.fail("it runs"))
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE.format(data="").replace("[sft]", "[sft]\nlora_rank = 0"))
    monkeypatch.setattr(cli, "join", lambda: Group(0, 2, sharded=True))
    assert cli.main(["demo", str(path)]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "[sft] lora_rank = 0 trains all weights, and FSDP shards the base" in line
    assert "[grpo]" not in line


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "many", "RANK": "x"}])
def test_one_process_is_no_group(environment, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["compare", "ghost.toml"]) == BAD_INPUT
    assert "ghost.toml" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["demo", "train"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [("", ["[sft] rows_per_step = 16, dealt to 3 processes", "[grpo] rows_per_step"]), (IMAGES, ["rows with images"])],
)
def test_what_several_processes_cannot_train_on_is_refused_before_anything_runs(
    verb, data, expected, tmp_path, monkeypatch, capsys
):
    """All of it at once; and the others, who wait, are let go."""
    left = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(cli, "join", lambda: Group(0, 3))
    monkeypatch.setattr(Group, "leave", lambda group: left.append(group))
    monkeypatch.setattr(api, "Run", lambda *_: pytest.fail("it runs"))
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE.format(data=data))
    assert cli.main([verb, str(path)]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    for words in expected:
        assert words in line
    assert len(left) == 1
