"""`python -m bench.scoring.gpu RECIPE`: on one GPU, bf16 rows/s against vLLM, and a GRPO step against TRL with vLLM.

No ratio has been measured with it yet (docs/bench.md says why). vLLM serves the recipe's model beforehand, from an
environment of its own, on the same GPU, with room left for the scorer (``vllm serve`` with a memory share of 0.3 and
prefix caching, under the name that the recipe gives the model). TRL's trainer generates with vLLM in its own process
("colocate"), for which vLLM has to be installed beside TRL too; without it that half says so and the other stands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import torch

from bench.machine import machine_facts
from bench.scoring.vllm import score_vs_vllm
from bench.setting import Setting, open_setting
from bench.timing import Measurement
from labelwright.data.task import Example
from labelwright.errors import LabelwrightError, MissingExtraError, ModelError
from workbench.progress import silence_libraries

# What TRL is told of vLLM; the share of the GPU's memory leaves room for two models and a training step.
COLOCATED = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.3}
N_ROWS = 512


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print both; 0, or 2 where there is no GPU, or the recipe or the server are at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.scoring.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="of the vLLM server on the same GPU")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        require_gpu()
        setting = open_setting(given.recipe)
        if setting.engine.device.type != "cuda" or setting.engine.model.dtype != torch.bfloat16:
            raise ModelError(
                f"{given.recipe} opens its model on {setting.engine.device} in {setting.engine.model.dtype}: expected "
                'a GPU and bfloat16; set [model] device = "auto" and dtype = "auto"'
            )
        print(machine_facts())
        many = joined(setting, N_ROWS * (given.rounds + 1))
        show(score_vs_vllm(many, N_ROWS, given.rounds, at=given.url))
        if find_spec("vllm") is None:
            raise MissingExtraError("TRL generates with vLLM in its own process, and vllm is not installed beside TRL")
        from bench.training.grpo_step import grpo_step_vs_trl

        show(grpo_step_vs_trl(setting, rounds=given.rounds, generator=COLOCATED))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


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


def show(measurement: Measurement) -> None:
    """The sides' medians and the ratio, a line each."""
    for name, side in measurement.sides.items():
        print(f"{measurement.name}: {name}: {side.median:.3g} {side.unit}")
    spread = f"[{measurement.low:.2f}, {measurement.high:.2f}]"
    print(f"{measurement.name}: ratio {measurement.value:.2f} {spread}; {measurement.facts}")


if __name__ == "__main__":
    sys.exit(main())
