"""`python -m bench.scoring.gpu RECIPE`: on one GPU, bf16 rows/s, those of vLLM, and a GRPO step against TRL with vLLM.

The scorer alone comes first: rows/s by the rows of a call, and the time of its kernels, which is what is left where a
call waits for nothing else. Then each comparison, whether or not the one before it came through.

vLLM is measured in this process, and so is TRL's trainer generating with it ("colocate"): vLLM has to be installed
beside TRL. A server of it is measured besides where ``--url`` names one; it serves the recipe's model on the same GPU,
with room left for the scorer, under the name that the recipe gives the model (``vllm serve FOLDER --served-model-name
smollm2 --gpu-memory-utilization 0.2 --max-logprobs 512``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

from bench.machine import machine_facts
from bench.scoring.vllm import score_vs_vllm, score_vs_vllm_in_process
from bench.setting import Setting, open_setting
from bench.timing import Measurement, seconds_of
from labelwright.data.task import Example
from labelwright.errors import LabelwrightError, MissingExtraError, ModelError
from labelwright.statistics.calibration import UNCALIBRATED
from workbench.progress import silence_libraries

# Of the GPU's memory: it leaves room for two models and a training step.
SHARE = 0.2
# What TRL is told of vLLM.
COLOCATED = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": SHARE}
N_ROWS = 512


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0, or 2 where there is no GPU, or the recipe, vLLM or its server are at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.scoring.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--url", help="of a vLLM server on the same GPU, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--told", type=json.loads, default={}, help="more arguments of vllm.LLM, as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        setting = on_gpu(given.recipe)
    except LabelwrightError as error:
        return fail(error)
    print(machine_facts())
    many = joined(setting, N_ROWS * (given.rounds + 1))
    told = {"gpu_memory_utilization": SHARE, **given.told}
    parts: list[Callable[[], Iterable[str]]] = [
        lambda: alone(many, given.rounds),
        lambda: shown(score_vs_vllm_in_process(require_vllm(many), N_ROWS, given.rounds, told)),
        lambda: shown(step_vs_trl(require_vllm(setting), given.rounds)),
    ]
    if given.url:
        parts.insert(1, lambda: shown(score_vs_vllm(many, N_ROWS, given.rounds, at=given.url)))
    status = 0
    for part in parts:
        try:
            for line in part():
                print(line, flush=True)
        # What vLLM lacks, has no memory for, or refuses of its own answers, it says in many classes.
        except (LabelwrightError, RuntimeError, ValueError, ImportError, OSError) as error:
            status = fail(error)
    return status


def fail(error: Exception) -> int:
    """Say what is wrong in a line; the exit status."""
    print(f"error: {(str(error).strip().splitlines() or [type(error).__name__])[-1]}", file=sys.stderr)
    return 2


def on_gpu(recipe: Path) -> Setting:
    """A recipe's setting with its model on a GPU in bfloat16.

    Raises
    ------
    ModelError
        There is no GPU, or the recipe opens its model elsewhere or in other numbers.
    """
    require_gpu()
    setting = open_setting(recipe)
    if setting.engine.device.type != "cuda" or setting.engine.model.dtype != torch.bfloat16:
        raise ModelError(
            f"{recipe} opens its model on {setting.engine.device} in {setting.engine.model.dtype}: expected "
            'a GPU and bfloat16; set [model] device = "auto" and dtype = "auto"'
        )
    return setting


def alone(setting: Setting, rounds: int) -> Iterator[str]:
    """Lines: rows/s of the scorer by rows a call, the prefix warm, and what its kernels take of a call's time."""
    engine, options = setting.engine, setting.prompt.options
    rows = setting.rendered(len(setting.examples))
    for n_rows in (1, 64, N_ROWS, len(rows)):
        call = partial(engine.score, rows[:n_rows], options, UNCALIBRATED)
        call()
        seconds = median(seconds_of(call) for _ in range(rounds))
        kernels_s, n_kernels = kernels_of(call)
        yield (
            f"score alone: {n_rows} rows a call: {n_rows / seconds:.0f} rows/s, {1000 * seconds:.1f} ms, of which "
            f"{1000 * kernels_s:.1f} ms in {n_kernels} kernels"
        )


def kernels_of(call: Callable[[], object]) -> tuple[float, int]:
    """Seconds that a GPU computes in a call, and in how many kernels; copies from and to it are none."""
    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        call()
        torch.cuda.synchronize()
    on_gpu = [event for event in watched.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [event for event in on_gpu if not event.key.startswith(("Memcpy", "Memset"))]
    return sum(event.self_device_time_total for event in kernels) / 1e6, sum(event.count for event in kernels)


def require_vllm(setting: Setting) -> Setting:
    """The setting; MissingExtraError where vLLM cannot be had in this process."""
    if find_spec("vllm") is None:
        raise MissingExtraError("vllm is not installed beside TRL; a server of it alone is measured by --url")
    return setting


def step_vs_trl(setting: Setting, rounds: int) -> Measurement:
    """A GRPO step against TRL's with vLLM generating in its process."""
    from bench.training.grpo_step import grpo_step_vs_trl

    return grpo_step_vs_trl(setting, rounds=rounds, generator=COLOCATED)


def joined(setting: Setting, n_rows: int) -> Setting:
    """The same setting with so many different rows: two texts of it behind each other, where it has too few.

    A row that a server has seen is in its cache, and a GPU answers more rows at a time than a recipe may have.

    """
    texts = joined_texts([example.text for example in setting.examples], n_rows)
    labels = [example.label for example in setting.examples]
    examples = tuple(Example(str(i), text, labels[i % len(labels)]) for i, text in enumerate(texts))
    return replace(setting, examples=examples)


def joined_texts(texts: Sequence[str], n: int) -> list[str]:
    """The first n of: each text, each with the next behind it, each with the next but one behind it, and so on.

    All differ, for n up to the square of their number, where the texts do and none of them is two others.

    >>> joined_texts(["a", "b", "c"], 5)
    ['a', 'b', 'c', 'a b', 'b c']
    """
    rounds = range(len(texts))
    every = (text if not k else f"{text} {texts[(i + k) % len(texts)]}" for k in rounds for i, text in enumerate(texts))
    return list(islice(every, n))


def require_gpu() -> None:
    """Raise ModelError where torch sees none."""
    if not torch.cuda.is_available():
        raise ModelError("no GPU: torch sees no CUDA device, and this compares engines on one; without: `make bench`")


def shown(measurement: Measurement) -> Iterator[str]:
    """The sides' medians and the ratio, a line each."""
    for name, side in measurement.sides.items():
        yield f"{measurement.name}: {name}: {side.median:.3g} {side.unit}"
    spread = f"[{measurement.low:.2f}, {measurement.high:.2f}]"
    yield f"{measurement.name}: ratio {measurement.value:.2f} {spread}; {measurement.facts}"


if __name__ == "__main__":
    sys.exit(main())
