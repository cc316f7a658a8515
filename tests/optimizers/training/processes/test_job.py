"""A training as files is the same training; and what cannot be dealt out is refused in one line."""

from dataclasses import replace

import numpy as np
import pytest
from training_fakes import SPLITS

from labelwright.engines.options.tree import OptionTree
from labelwright.errors import ModelError, RecipeError
from labelwright.models.weights import Adapter, Base
from optimizers.training.processes.job import Job, read_job
from optimizers.training.rows import LabelRows
from optimizers.training.settings import Objective, Preferences, dealt
from optimizers.training.sft import SftStage

ROWS = LabelRows(
    prefix=(1, 2),
    rows=((3, 4), (5,)),
    tree=OptionTree.build([[6, 0], [7, 8, 0]]),
    gold=np.array([0, 1]),
    texts=("one", "zwei \u2028 lines"),
    present=np.array([[True, True], [True, False]]),
    targets=np.eye(2, dtype=np.float32),
)
OBJECTIVE = Objective("preference", rewards=np.eye(2), preferences=Preferences(((0, 0, 1),), beta=0.5))


@pytest.mark.parametrize("weights", ["base", "adapter"])
@pytest.mark.parametrize("rows", [ROWS, replace(ROWS, present=None, targets=None, shares_readings=True)])
def test_a_helper_reads_what_was_written(tmp_path, weights, rows):
    given = Base("smollm2") if weights == "base" else Adapter("smollm2", tmp_path / "adapter")
    job = Job(SftStage(steps=3, learning_rate=1e-4), OBJECTIVE, rows, given, tmp_path, "cuda:0", "bfloat16", 7)
    job.write(tmp_path / "checkpoint-2")
    read, checkpoint = read_job(tmp_path)
    assert checkpoint == tmp_path / "checkpoint-2"
    assert (read.weights, read.device, read.dtype, read.seed) == (given, "cuda:0", "bfloat16", 7)
    assert (read.stage.steps, read.stage.learning_rate) == (3, 1e-4)
    assert read.rows.contents() == rows.contents()
    assert (read.rows.texts, read.rows.shares_readings) == (rows.texts, rows.shares_readings)
    assert replace(read.objective, rewards=None) == replace(OBJECTIVE, rewards=None)
    np.testing.assert_array_equal(read.objective.rewards, OBJECTIVE.rewards)


@pytest.mark.parametrize(
    ("rows_per_step", "rows_per_forward", "n_processes", "expected"),
    [(16, 16, 1, (16, 1)), (16, 16, 2, (8, 1)), (16, 2, 2, (2, 4)), (12, 4, 3, (4, 1)), (4, 4, 4, (1, 1))],
)
def test_a_steps_rows_are_dealt_evenly(rows_per_step, rows_per_forward, n_processes, expected):
    stage = SftStage(rows_per_step=rows_per_step, rows_per_forward=rows_per_forward)
    assert dealt(stage, n_processes) == expected
    assert expected[0] * expected[1] * n_processes == rows_per_step


@pytest.mark.parametrize(("rows_per_forward", "n_processes"), [(16, 3), (8, 3), (4, 8)])
def test_what_does_not_come_out_even_is_one_line(rows_per_forward, n_processes):
    stage = SftStage(rows_per_step=8 if rows_per_forward == 8 else 16, rows_per_forward=rows_per_forward)
    if n_processes == 8:
        assert dealt(stage, n_processes) == (2, 1)
        return
    with pytest.raises(
        RecipeError, match=rf"dealt to {n_processes} processes .*; set rows_per_step to a multiple of 3"
    ):
        dealt(stage, n_processes)


def test_fewer_rows_at_once_are_as_many_a_step():
    job = Job(SftStage(rows_per_step=12, rows_per_forward=12), OBJECTIVE, ROWS, Base("m"), SPLITS, "cuda", "float32", 0)
    at_once = []
    for _ in range(3):
        job = job.with_fewer_rows(1)
        at_once.append(job.stage.rows_at_once)
    assert at_once == [6, 3, 1]
    assert job.stage.rows_per_step == 12
    with pytest.raises(ModelError, match="cuda has no memory left to train on 1 row at once: use a smaller model"):
        job.with_fewer_rows(1)
    with pytest.raises(ModelError, match="on 1 row at once in each of 2 processes: use a smaller model"):
        job.with_fewer_rows(2)


def test_what_is_short_of_memory_in_several_processes_names_what_one_of_them_takes():
    job = Job(
        SftStage(rows_per_step=12, rows_per_forward=12), OBJECTIVE, ROWS, Base("m"), SPLITS, "cuda:0", "float32", 0
    )
    said = r"^cuda has no memory left to train on 6 rows at once in each of 2 processes: set rows_per_forward below 6"
    with pytest.raises(ModelError, match=said):
        job.with_fewer_rows(2)
