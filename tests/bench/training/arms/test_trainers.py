"""The recipe's model as it is trained for a measurement; the head is tested beside ``bench.training.judged``."""

from __future__ import annotations

import numpy as np

from bench.training.arms.trainers import Steps, model_of
from bench.training.scales import runs_of


def test_the_model_learns_by_the_loss_of_the_arm_and_the_engine_is_left_alone(setting):
    wanted = {run.arm: run for run in runs_of(setting, ["clean"], 1)}
    before = setting.engine.score(setting.rendered(2), setting.prompt.options)
    trainer, _ = model_of(setting, Steps(steps=1, rows_per_step=4, rows_per_forward=4, learning_rate=5e-2))
    sft, none = trainer(wanted["sft"]), trainer(wanted["none"])
    assert sft.shape == (len(wanted["sft"].held_out), 3)
    assert not np.allclose(sft, none)
    assert (setting.engine.score(setting.rendered(2), setting.prompt.options) == before).all()
