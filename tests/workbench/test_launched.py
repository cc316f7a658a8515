"""`accelerate launch -m workbench train` and `torchrun`, as they are typed: several processes leave what one does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import several_processes
import workbench_fakes
from tiny import tiny_model_folder

from labelwright.classifier import Classifier
from workbench.cli import main
from workbench.run.folder import runs_of

RECIPE = """
name = "toy"
seed = 3
stages = ["grpo"]
[data]
path = "rows.jsonl"
group = "group"
id = "id"
[task]
instructions = "Name the topic of the message."
labels = ["pool", "fence", "hvac"]
style = "code"
[model]
name = "model"
device = "cpu"
dtype = "float32"
[grpo]
steps = 2
rows_per_step = 4
rows_per_forward = 1
learning_rate = 3e-3
eval_every = 1
lora_rank = 4
[tracking]
system_metrics = false
"""
# What `accelerate config` writes where it is told of two GPUs; of the number format the recipe decides.
GPUS = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
gpu_ids: all
machine_rank: 0
main_process_port: 0
mixed_precision: bf16
num_machines: 1
num_processes: 2
use_cpu: false
"""
FSDP = (
    GPUS.replace("MULTI_GPU", "FSDP")
    + """
fsdp_config:
  fsdp_activation_checkpointing: false
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_cpu_ram_efficient_loading: true
  fsdp_offload_params: false
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: SHARDED_STATE_DICT
  fsdp_version: 2
"""
)
ACCELERATE = ("accelerate", "launch", "--config_file", "accelerate.yaml")
LAUNCHES = {
    "accelerate": (ACCELERATE, GPUS),
    "accelerate, sharded": (ACCELERATE, FSDP),
    "torchrun": (("torchrun", "--standalone", "--nproc_per_node", "2"), ""),
}


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, a recipe and a model, as it was before anything was trained there."""
    folder = tmp_path_factory.mktemp("typed")
    workbench_fakes.write_workspace(folder)
    (folder / "toy.toml").write_text(RECIPE, encoding="utf-8")
    tiny_model_folder(folder / "model", seed=5, spread=0.1)
    return folder


@pytest.fixture(scope="module")
def alone(typed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step of GRPO that one process took there."""
    folder = shutil.copytree(typed, tmp_path_factory.mktemp("alone") / "typed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        workbench_fakes.without_tracking(patch.setattr)
        assert main(["train", "toy.toml"]) == 0
    return step(folder)


def step(folder: Path) -> Path:
    """Of the one run in a folder what GRPO left."""
    (run,) = runs_of(folder / "runs" / "toy")
    return run / "1-grpo"


def logged(folder: Path) -> list[dict[str, float]]:
    """What was said of each step and of each look at dev; entropies, times and the like left out."""
    work = folder / "work"
    steps = json.loads((work / "checkpoints" / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
    looks = [json.loads(line) for line in (work / "dev.jsonl").read_text().splitlines()]
    kept = {"step", "accuracy", "log_loss", *several_processes.LOGGED}
    return [{key: value for key, value in one.items() if key in kept} for one in (*steps, *looks)]


@pytest.mark.parametrize("name", LAUNCHES)
def test_two_launched_processes_leave_what_one_does(
    name: str, typed: Path, alone: Path, made_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (launcher, *options), configured = LAUNCHES[name]
    folder = shutil.copytree(typed, tmp_path / "typed")
    (folder / "accelerate.yaml").write_text(configured, encoding="utf-8")
    (folder / "runs").mkdir()
    shutil.copy(made_store, folder / "runs" / "mlflow.db")
    done = subprocess.run(
        [str(Path(sys.executable).with_name(launcher)), *options, "-m", "workbench", "train", "toy.toml"],
        cwd=folder,
        env=workbench_fakes.environment(ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("grpo: done in") == 1, "the first process alone says what is done"
    found = step(folder)
    # Each process that trains keeps how its own draws go on.
    assert {path.name for path in found.glob("work/checkpoints/checkpoint-2/rng_state*")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }
    assert len(logged(found)) == len(logged(alone)) == 2 + 3
    for said, expected in zip(logged(found), logged(alone), strict=True):
        assert said == pytest.approx(expected, rel=2e-3, abs=1e-5)
    several_processes.check_same_weights(alone / "work" / "best", found / "work" / "best")
    assert (found / "bundle" / "bundle.json").read_text().count('"improved": true') == 1
    monkeypatch.chdir(typed)  # where the bundles' model is
    texts = ["the pool is green", "a gate of the fence", "no heat from the furnace"]
    answers = [Classifier.from_bundle(str(one / "bundle")).predict_proba(texts) for one in (alone, found)]
    assert answers[1] == pytest.approx(answers[0], abs=1e-4)
