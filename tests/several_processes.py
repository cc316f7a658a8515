"""One of the processes of a training, as ``accelerate launch`` starts it: `python several_processes.py ASKED.json`.

The first one trains what is asked, stage after stage, and writes down what was reported; the other helps it. The first
can be told to be killed at a step, the other to have no memory for one of the stages.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from fakes import toy_splits
from training_fakes import Record, open_float32, untuned

from labelwright.console import run as in_one_line
from labelwright.data.task import Splits
from optimizers.stage import StageContext
from optimizers.training.dpo import DpoStage
from optimizers.training.grpo import GrpoStage
from optimizers.training.processes import group as groups
from optimizers.training.processes.helper import serve
from optimizers.training.sft import SftStage

SPLITS = toy_splits().for_tuning()
FEW = Splits(SPLITS.train[::3], SPLITS.dev[::3], (), ())
STAGES = {stage.name: stage for stage in (SftStage, GrpoStage, DpoStage)}


def train(asked: dict[str, Any]) -> None:
    """Every stage that is asked, in a folder each, with its curve beside it."""
    for name, (stage, settings) in asked["stages"].items():
        folder = Path(asked["folder"]) / name
        folder.mkdir(exist_ok=True)
        record = Record(asked.get("kill_first_at"))
        context = StageContext(folder, record, open_float32, 0)
        STAGES[stage](**settings).run(untuned(Path(asked["model"])), FEW, context)
        (folder / "curves.json").write_text(json.dumps(record.curves))


def start(asked: Path, n: int = 2) -> list[subprocess.Popen[str]]:
    """The processes, each with the environment that a launcher gives it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    shared = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
    environment = os.environ | shared | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
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
    if group.rank:
        if asked.get("second_is_short_in"):
            _no_memory_in(asked["second_is_short_in"])
        return serve(group)
    try:
        train(asked)
    finally:
        group.leave()
    return 0


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
