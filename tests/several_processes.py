"""One of the processes of a training, as ``accelerate launch`` starts it: `python several_processes.py ASKED.json`.

The first one trains what is asked, stage after stage, and writes down what was reported; the other helps it. The first
can be told to be killed at a step, the other to have no memory for one of the stages, and both to cut one into chunks.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import toy_splits
from safetensors.numpy import load_file
from training_fakes import Record, untuned

from labelwright.console import run as in_one_line
from labelwright.data.task import Splits
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from optimizers.stage import StageContext
from optimizers.training.dpo import DpoStage
from optimizers.training.grpo import GrpoStage
from optimizers.training.processes import group as groups
from optimizers.training.processes.helper import serve
from optimizers.training.sft import SftStage

SPLITS = toy_splits().for_tuning()
FEW = Splits(SPLITS.train[::3], SPLITS.dev[::3], (), ())
SHORT = {"steps": 2, "rows_per_step": 4, "rows_per_forward": 1, "eval_every": 2, "learning_rate": 3e-3, "lora_rank": 4}
WHOLE = SHORT | {"rows_per_forward": 4}
RARE = {"reward": "rare_class", "reward_settings": {"power": 0.5}}
LOGGED = {"loss", "grad_norm", "reward", "train_log_loss", "kl", "gold_rank", "dev_log_loss"}
STAGES = {stage.name: stage for stage in (SftStage, GrpoStage, DpoStage)}


def train(asked: dict[str, Any]) -> None:
    """Every stage that is asked, in a folder each, with its curve beside it."""
    for name, (stage, settings) in asked["stages"].items():
        about = EngineSettings(device=asked.get("device", "cpu"), dtype=asked.get("dtypes", {}).get(name, "float32"))
        folder = Path(asked["folder"]) / name
        folder.mkdir(exist_ok=True)
        record = Record(asked.get("kill_first_at"))
        context = StageContext(folder, record, partial(open_engine, settings=about), 0)
        model = Path(asked.get("models", {}).get(name, asked["model"]))
        STAGES[stage](**settings).run(untuned(model), FEW, context)
        (folder / "curves.json").write_text(json.dumps(record.curves))


def asked(folder: Path, model: Path, name: str = "asked", **more: Any) -> Path:
    """A file of what is asked of the processes."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"folder": str(folder), "model": str(model), **more}))
    return path


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each, once it has ended."""
    said = [process.communicate(timeout=600) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def numbers(folder: Path, name: str) -> dict[int, dict[str, float]]:
    """Of each step of a stage what was logged, by name."""
    found: dict[int, dict[str, float]] = {}
    for step, values in json.loads((folder / name / "curves.json").read_text()):
        found.setdefault(step, {}).update(values)
    return found


def check_alike(
    one: Path, two: Path, name: str, resumed: bool = False, rel: float = 2e-3, of_weights: float = 2e-5
) -> None:
    """One process and two report the same of every step that both took, and end with the same weights."""
    alone, together = numbers(one, name), numbers(two, name)
    for step in together if resumed else alone:
        for of in LOGGED & set(alone[step]):
            assert together[step][of] == pytest.approx(alone[step][of], rel=rel, abs=1e-5), (step, of)
    check_same_weights(one / name / "best", two / name / "best", of_weights)


def check_same_weights(one: Path, two: Path, atol: float = 2e-5) -> None:
    """The models, or the adapters, in two folders differ by rounding alone."""
    weights = [load_file(next(folder.glob("*model.safetensors"))) for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for key, values in weights[0].items():
        np.testing.assert_allclose(weights[1][key], values, rtol=1e-2, atol=atol, err_msg=key)


def start(asked: Path, n: int = 2, **configured: str) -> list[subprocess.Popen[str]]:
    """The processes, each with the environment that a launcher gives it, and with what accelerate is configured for."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    shared = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
    environment = (
        os.environ
        | {"ACCELERATE_USE_CPU": "true"}
        | shared
        | configured
        | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    )
    command = [sys.executable, "-W", "ignore", __file__, str(asked)]  # as the command line does
    return [
        subprocess.Popen(
            command,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]


def _member(asked: dict[str, Any]) -> int:
    group = groups.join()
    assert "WORLD_SIZE" not in os.environ, "what it starts would take itself for a member"
    if asked.get("chunks_in"):
        _chunks_in(asked["chunks_in"])
    if group.sharded:
        _weigh(Path(asked["folder"]) / f"layers-{group.rank}.json")
    if group.rank:
        if asked.get("second_is_short_in"):
            _no_memory_in(asked["second_is_short_in"])
        return serve(group)
    try:
        train(asked)
    finally:
        group.leave()
    return 0


def _weigh(path: Path) -> None:
    """Write down of every training how much of its model's layers is here, and how many are whole at a time."""
    from torch.distributed.tensor import DTensor

    from labelwright.engines.packed.lower import blocks_of
    from optimizers.training import libraries

    original = libraries.shard
    found: list[dict[str, Any]] = []
    atexit.register(lambda: path.write_text(json.dumps(found)))

    def weighed(model: Any, device: Any) -> None:
        original(model, device)
        blocks = blocks_of(model)[1]  # type: ignore[index]
        weights = list(blocks.parameters())
        of = {"here": sum(one.to_local().numel() for one in weights), "in_all": sum(one.numel() for one in weights)}
        found.append(of | {"on": weights[0].device.type, "whole_forward": 0, "whole_backward": 0})

        def count(when: str) -> None:
            n_whole = sum(not isinstance(block.input_layernorm.weight, DTensor) for block in blocks)
            found[-1][when] = max(found[-1][when], n_whole)

        for block in blocks:
            block.mlp.register_forward_hook(lambda *_: count("whole_forward"))
            block.mlp.register_full_backward_pre_hook(lambda *_: count("whole_backward"))

    libraries.shard = weighed


def _chunks_in(name: str) -> None:
    """In one stage rows are cut into chunks of a few tokens each."""
    from labelwright.engines.packed.chunks import CHUNK_TOKENS
    from optimizers.training.trainer import LabelTreeTrainer

    original, usual = LabelTreeTrainer._pass, CHUNK_TOKENS["cpu"]

    def cut(self: Any, *given: Any, **more: Any) -> Any:
        CHUNK_TOKENS["cpu"] = 12 if Path(self.args.output_dir).parent.name == name else usual
        return original(self, *given, **more)

    LabelTreeTrainer._pass = cut  # type: ignore[method-assign]


def _no_memory_in(name: str) -> None:
    import torch

    from optimizers.training.trainer import LabelTreeTrainer

    original = LabelTreeTrainer._compute_loss

    def large(self: Any, *given: Any) -> Any:
        if self.state.global_step and Path(self.args.output_dir).parent.name == name:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(self, *given)

    LabelTreeTrainer._compute_loss = large  # type: ignore[method-assign]


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text())
    sys.exit(in_one_line(lambda: _member(told), "labelwright"))
