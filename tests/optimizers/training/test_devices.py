"""What a device may lack: float64, as Apple's does, and memory for all the rows of a forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny import tiny_model_folder
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_fakes import SPLITS, Record, open_float32, untuned

from labelwright.data.task import Splits
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import ModelError
from optimizers.stage import StageContext
from optimizers.training import trainer as trainers
from optimizers.training.dpo import DpoStage
from optimizers.training.grpo import GrpoStage
from optimizers.training.sft import SftStage

FEW = Splits(SPLITS.train[::6], SPLITS.dev[::3], (), ())
SHORT = {"steps": 2, "rows_per_step": 12, "rows_per_forward": 12, "eval_every": 1, "learning_rate": 3e-3}
SHORT |= {"lora_rank": 4}
STAGES = {
    "sft": SftStage(**SHORT, label_smoothing=0.1, validity=0.1),
    "exact": GrpoStage(**SHORT | {"rows_per_forward": 6}, beta=0.1, scale_rewards="batch", reward="rare_class"),
    "mean": GrpoStage(**SHORT, scale_rewards="mean"),
    "sampled": GrpoStage(**SHORT, mode="sampled", n_rollouts=2, beta=0.1, validity=0.1),
    "dpo": DpoStage(**SHORT, margin=10, hard=("model",)),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return untuned(tiny_model_folder(tmp_path_factory.mktemp("model"), spread=0.1))


class NoFloat64(TorchDispatchMode):
    """A device without float64: whatever would make a tensor of it there is refused."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        wide = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor) and one.dtype == torch.float64]
        assert not wide, f"{func} makes float64"
        return made


def run(stage, bundle, folder):
    folder.mkdir()
    record = Record()
    return stage.run(bundle, FEW, StageContext(folder, record, open_float32, 0)), record


@pytest.mark.parametrize("name", STAGES)
def test_neither_scoring_nor_training_needs_float64(bundle, tmp_path, name):
    """Opening, self-check, scores, losses, rollouts, updates and looks at dev."""
    with pytest.raises(AssertionError, match="float64"), NoFloat64():
        torch.ones(2).double()
    with NoFloat64():
        tuned, _ = run(STAGES[name], bundle, tmp_path / name)
    assert [point["step"] for point in tuned.history[-1]["curve"]] == [0, 1, 2]


def small_memory(monkeypatch, most):
    """A device on which a pass over more than so many rows does not fit."""
    passes, original = [], trainers.log_probs_in_chunks

    def ask(model, prefix, batch, *more, **agreed):
        passes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(model, prefix, batch, *more, **agreed)

    monkeypatch.setattr(trainers, "log_probs_in_chunks", ask)
    return passes


@pytest.mark.parametrize("name", ["sft", "mean", "exact"])
def test_out_of_memory_means_fewer_rows_at_once_and_the_same_steps(bundle, tmp_path, monkeypatch, name):
    """12 rows at once, then 6, then 3: gradients add up over four passes a step. With a divergence it shows at once."""
    stage = replace(STAGES[name], steps=3, eval_every=2)
    whole, plain = run(stage, bundle, tmp_path / "whole")
    passes = small_memory(monkeypatch, 4)
    halved, record = run(stage, bundle, tmp_path / "halved")
    assert record.values["rows_at_once"] == 3
    assert sum(n > 4 for n in passes) == {12: 2, 6: 1}[stage.rows_per_forward], "what was too much is not tried again"
    losses = [[values["loss"] for _, values in one.curves if "loss" in values] for one in (plain, record)]
    assert losses[1][-3:] == pytest.approx(losses[0], rel=1e-3, abs=1e-6)
    files = [load_file(tmp_path / which / "best" / "adapter_model.safetensors") for which in ("whole", "halved")]
    for key, values in files[0].items():
        np.testing.assert_allclose(files[1][key], values, rtol=1e-2, atol=2e-5)
    assert whole.history[-1]["settings"] == halved.history[-1]["settings"]


def test_a_device_that_cannot_train_on_one_row_is_one_line(bundle, tmp_path, monkeypatch):
    small_memory(monkeypatch, 0)
    with pytest.raises(ModelError, match="cpu has no memory left to train on 1 row at once: use a smaller model"):
        run(STAGES["sft"], bundle, tmp_path / "none")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("name", STAGES)
def test_a_cuda_device_trains_as_the_processor_does(bundle, tmp_path, name):
    """The same losses, looks at dev and adapters."""

    def on(device):
        def opened(weights):
            return open_engine(weights, EngineSettings(device=device, dtype="float32"))

        folder, record = tmp_path / device, Record()
        folder.mkdir()
        tuned = STAGES[name].run(bundle, FEW, StageContext(folder, record, opened, 0))
        losses = [values["loss"] for _, values in record.curves if "loss" in values]
        return losses, tuned.history[-1]["curve"], load_file(folder / "best" / "adapter_model.safetensors")

    (here, looks, adapter), (there, looks_there, adapter_there) = on("cpu"), on("cuda")
    assert there == pytest.approx(here, rel=1e-3, abs=1e-5)
    assert [look["log_loss"] for look in looks_there] == pytest.approx([look["log_loss"] for look in looks], rel=1e-3)
    assert adapter.keys() == adapter_there.keys()
    for key, values in adapter.items():
        np.testing.assert_allclose(adapter_there[key], values, rtol=5e-2, atol=1e-4)
