"""Two processes train as one does: the same losses, step by step, and the same weights, also after a kill.

Every launch costs the imports of two processes, so there are two: one that is killed, and one that goes on from there,
trains all stages, and has no memory for a last one.
"""

import json
import signal

import pytest
import several_processes
from several_processes import RARE, SHORT, WHOLE, asked, ended
from tiny import tiny_model_folder

# Two passes of each process and four of one alone, and such that are a step in one pass of either.
STAGES = {
    "sft": ("sft", SHORT | {"steps": 4, "label_smoothing": 0.1, "validity": 0.01}),
    "whole": ("sft", WHOLE | {"lora_rank": 0}),
    "batch": ("grpo", SHORT | RARE | {"scale_rewards": "batch", "beta": 0.1}),
    "mean": ("grpo", WHOLE | {"scale_rewards": "mean", "lora_layers": 0.5, "rows_per_forward": 2}),
    "sampled": ("grpo", SHORT | {"mode": "sampled", "n_rollouts": 4, "beta": 0.1, "validity": 0.1}),
    "dpo": ("dpo", SHORT | {"margin": 10, "sft_weight": 0.1}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What one process leaves and what two do; and how those ended, killed in the first training, short of memory."""
    model = tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1)
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    first = {"stages": {"sft": STAGES["sft"]}}
    killed = ended(several_processes.start(asked(two, model, "kill", **first, kill_first_at=3)))
    more = {"stages": STAGES | {"short": ("sft", SHORT)}, "second_is_short_in": "short"}
    short = ended(several_processes.start(asked(two, model, **more)))
    assert (two / "dpo" / "curves.json").exists(), "\n".join(said for _, _, said in short)
    several_processes.train(json.loads(asked(one, model, stages=STAGES).read_text()))
    return one, two, killed, short


@pytest.mark.parametrize("name", STAGES)
def test_two_processes_take_the_steps_of_one(trained, name):
    one, two, *_ = trained
    several_processes.check_alike(one, two, name, resumed=name == "sft")


def lines_of(said):
    """Our own; libraries warn beside them, and torch of its sockets."""
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line.startswith("labelwright: ")]


def test_a_process_that_dies_ends_the_other_with_one_line(trained):
    *_, ((status, _, _), (other, _, said)), _ = trained
    assert (status, other) == (-signal.SIGKILL, 2)
    (line,) = lines_of(said)
    assert "process 1 of 2: another process of the training has ended" in line
    assert "the same command continues" not in line


def test_a_helper_without_memory_says_what_to_set_and_ends_the_first(trained):
    *_, (first, helper) = trained
    assert first[0] == helper[0] == 2
    (said,), (of_first,) = lines_of(helper[2]), lines_of(first[2])
    assert "cpu has no memory left to train on 1 row at once in each of 2 processes" in said
    assert "process 0 of 2: another process of the training has ended" in of_first
    assert "the same command continues" not in of_first
