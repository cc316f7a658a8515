"""What a worker needs of a machine, and how many workers machines have room for: decided here for every engine.

An engine says which machines there are (this one, or the nodes of a cluster). GPUs of this one are looked for only
where a worker may take one, since that imports torch.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from labelwright.engines.settings import BACKENDS
from labelwright.errors import DataError
from labelwright.models.gpus import named_gpus
from labelwright.models.weights import Predictor, Weights, is_language_model

# By these a worker takes whichever GPU it is given. A device with a number is the one that was named, for all workers.
_ANY_GPU = ("auto", "cuda")


@dataclass(frozen=True)
class Machine:
    """What a machine, or a node of a cluster, has.

    Attributes
    ----------
    n_cpus, n_gpus : int
    memory_bytes : float
        Infinite where it is not counted.
    """

    n_cpus: int
    n_gpus: int = 0
    memory_bytes: float = math.inf


@dataclass(frozen=True)
class Needs:
    """What a worker needs of its machine.

    Attributes
    ----------
    n_threads : int
        CPUs.
    n_gpus : int
        1 for a GPU that no other worker has, else 0.
    memory_bytes : int
    """

    n_threads: int = 1
    n_gpus: int = 0
    memory_bytes: int = 2**30

    def fitting(self, machine: Machine) -> int:
        """Workers that a machine has room for."""
        gpus = machine.n_gpus / self.n_gpus if self.n_gpus else math.inf
        return int(min(machine.n_cpus // self.n_threads, gpus, machine.memory_bytes / self.memory_bytes))


@dataclass(frozen=True)
class Asked:
    """What is known of workers before it is known which machines there are.

    Attributes
    ----------
    device : str
        What the bundle's model computes on, as ``EngineSettings.device``; "cpu" where nothing in it takes a GPU.
    is_model : bool
        A language model answers.
    n_workers, n_threads : int, optional
        Where the command says so.
    memory_bytes : int
    may_share : bool
        Several may compute on one device, where it is named.
    """

    device: str = "cpu"
    is_model: bool = False
    n_workers: int | None = None
    n_threads: int | None = None
    memory_bytes: int = Needs.memory_bytes
    may_share: bool = True

    @classmethod
    def of(cls, arguments: argparse.Namespace, weights: Sequence[Weights]) -> Asked:
        """By the command's options and all weights that answer."""
        is_model = any(map(is_language_model, weights))
        return cls(
            device_of(arguments, weights),
            is_model,
            arguments.workers,
            arguments.threads,
            round((arguments.worker_memory or 1) * 2**30),
            not (is_model and BACKENDS[arguments.backend].fills_device),
        )

    def on(self, machines: Sequence[Machine]) -> tuple[Needs, int]:
        """What a worker needs on these machines, and how many workers there are: at least one, unless asked for more.

        Raises
        ------
        DataError
            More workers are asked for than there are GPUs, where each takes one; or for one that one of them fills.
        """
        of_gpus = [one for one in machines if one.n_gpus]
        n_gpus = int(self.device == "cuda" or (self.device == "auto" and bool(of_gpus)))
        if n_gpus:  # as many as keep each machine's every GPU at work
            default = min((max(1, one.n_cpus // one.n_gpus) for one in of_gpus), default=1)
        else:
            default = max([1, *(one.n_cpus for one in machines)]) if self.is_model else 1
        is_filled = not self.may_share and self.device.startswith("cuda:")
        if is_filled and (self.n_workers or 1) > 1:
            raise DataError(f"--workers {self.n_workers}: one fills {self.device}; ask for one, or for --device cuda")
        needs = Needs(self.n_threads or default, n_gpus, self.memory_bytes)
        total = sum(one.n_gpus for one in machines)
        if n_gpus and self.n_workers and self.n_workers > total:
            shared = ", or name one that all share: --device cuda:0" if self.is_model and self.may_share else ""
            raise DataError(
                f"--workers {self.n_workers}: each takes a GPU of its own, and there are {total}; ask for no "
                f"more{shared}"
            )
        fitting = 1 if is_filled else max(1, sum(map(needs.fitting, machines)))
        return needs, self.n_workers or fitting


def device_of(arguments: argparse.Namespace, weights: Sequence[Weights]) -> str:
    """The device that workers ask for; "cpu" where a server answers, or nothing that takes a GPU.

    Small classifiers take a GPU where there is one, whatever ``--device`` says of language models.
    """
    from labelwright.predictors.store import takes_gpu

    if any(map(is_language_model, weights)) and BACKENDS[arguments.backend].has_device and arguments.device != "cpu":
        return str(arguments.device)
    return "auto" if any(isinstance(one, Predictor) and takes_gpu(one.folder) for one in weights) else "cpu"


def this_machine(device: str) -> Machine:
    """What this machine has for workers that ask for a device.

    Raises
    ------
    ModelError
        "cuda", where torch sees no GPU.
    """
    return Machine(os.cpu_count() or 1, _n_gpus(device) if device in _ANY_GPU else 0)


def visible_gpus(n_gpus: int) -> list[str]:
    """The first GPUs of this machine as ``VISIBLE`` names them: of those that it names already, where it does."""
    return (named_gpus() or [str(number) for number in range(n_gpus)])[:n_gpus]


def _n_gpus(device: str) -> int:
    try:
        from labelwright.models.loading import n_gpus
    except ImportError:  # a worker says what is not installed
        return 0
    return n_gpus(device)
