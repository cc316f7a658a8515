"""The processes of one training: which one this is, what the first says to all, and what they agree on.

``accelerate launch`` (or ``torchrun``) says to each process who it is, by its environment. The first one runs the verb;
the others help it train and wait meanwhile. What a process is started from is hidden from whatever it starts itself: a
comparison's candidates, say, are no members, and each of them trains alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from labelwright.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# By these torch and accelerate know a member of a group.
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# What the recipe decides, whatever accelerate was configured for: number format, and passes a step.
OURS = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
# That a model is to be sharded; how is ``sharding``'s matter, and accelerate must not do it once more.
SHARDED = "ACCELERATE_USE_FSDP"
# Ways to part a model that are not followed.
PARTS = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
# What of accelerate's FSDP is not followed, and its name in the configuration.
OFFLOADS = {
    "FSDP_OFFLOAD_PARAMS": "fsdp_offload_params",
    "FSDP_ACTIVATION_CHECKPOINTING": "fsdp_activation_checkpointing",
}
# Others wait while the first process searches prompts, looks at dev or compares: no wait is too long.
LONGEST_WAIT = timedelta(days=30)


@dataclass
class Group:
    """This process among those of one training; alone, where nobody launched several.

    Attributes
    ----------
    rank : int
        0 is the one that runs the verb.
    size : int
    sharded : bool
        Whether each process holds a share of every layer (``processes.sharding``), and not the whole model.
    kind : str
        Of the processes' devices, "cuda" say.
    """

    rank: int = 0
    size: int = 1
    sharded: bool = False
    kind: str = "cpu"
    _environment: Mapping[str, str] = field(default_factory=dict)
    _words: Any = None
    _is_at_work: bool = False

    @contextmanager
    def as_member(self) -> Iterator[None]:
        """Within this libraries know the process as a member, and what a lost member raises is one line."""
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_of_a_lost_member(error):
                raise
            raise ModelError(
                f"process {self.rank} of {self.size}: another process of the training has ended, so this one ends; "
                "why is what the other one said, if nobody killed it"
            ) from error
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        # Not where something was raised: the others wait for this process in the middle of a step.
        self._is_at_work = False

    def trains_on(self, answers_on: str) -> str:
        """The device to train on: the engine's. Sharded, the processes': no GPU may hold the model that answers."""
        return self.kind if self.sharded else answers_on

    def said_by_first(self, text: str = "") -> str:
        """What the first process says, to all; the others wait for it. Unless it is ``END``, all are at work then."""
        if self.size == 1:
            return text
        import torch

        content = text.encode()
        n_bytes = torch.tensor([len(content)])
        torch.distributed.broadcast(n_bytes, 0, group=self._words)
        said = torch.frombuffer(bytearray(content or b" "), dtype=torch.uint8) if self.rank == 0 else None
        if said is None:
            said = torch.zeros(max(int(n_bytes), 1), dtype=torch.uint8)
        torch.distributed.broadcast(said, 0, group=self._words)
        told = bytes(said[: int(n_bytes)].tolist()).decode()
        self._is_at_work = told != END
        return told

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of a tensor that each of them has, on the processor and without gradients."""
        total = values.detach().cpu().clone()
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(total, group=self._words)
        return total

    def most(self, number: int) -> int:
        """The largest of what each process has."""
        if self.size == 1:
            return number
        import torch

        found = torch.tensor([number])
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, group=self._words)
        return int(found)

    def leave(self) -> None:
        """Let the others go, from wherever the first process is; unless they are in the middle of a step with it."""
        if self.size == 1:
            return
        import torch

        try:
            if not self._is_at_work:
                if self.rank == 0:
                    self.said_by_first(END)
                torch.distributed.destroy_process_group()
        except RuntimeError as error:
            if not _is_of_a_lost_member(error):  # who is gone needs no word
                raise
        finally:
            _known[:] = [Group()]


END = "end"
# One a process, as torch's own group is.
_known: list[Group] = [Group()]


def current() -> Group:
    """The group that this process has joined; it alone by default."""
    return _known[0]


def launched() -> tuple[int, int]:
    """This process's number and how many were launched, by its environment; (0, 1) where nobody launched several."""
    try:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 0, 1


def alone() -> None:
    """Have a process that was launched by itself hold the whole model, whatever accelerate was configured for."""
    os.environ.pop(SHARDED, None)


def join() -> Group:
    """Meet the processes that were launched with this one.

    Raises
    ------
    ModelError
        They were launched to part the model in a way that is not followed.
    """
    import torch

    rank, size = launched()
    if parted := [how for name, how in PARTS.items() if _is_set(name)]:
        raise ModelError(
            f"accelerate is configured for {parted[0]}, which parts a model in a way that is not followed: run "
            "`accelerate config` again, for FSDP or for several GPUs alone"
        )
    sharded = _is_set(SHARDED)
    if sharded and (beyond := [name for variable, name in OFFLOADS.items() if _is_set(variable)]):
        raise ModelError(
            f"accelerate is configured with {' and '.join(beyond)} = true, which is not followed: set it to false, and "
            "rows_per_forward lower where memory does not suffice"
        )
    for name in (*OURS, SHARDED):
        os.environ.pop(name, None)
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    on_cpu = not torch.cuda.is_available() or _is_set("ACCELERATE_USE_CPU")
    if not on_cpu:
        torch.cuda.set_device(int(environment.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("gloo" if on_cpu else "cpu:gloo,cuda:nccl", timeout=LONGEST_WAIT)
    words = torch.distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
    for name in environment:
        del os.environ[name]
    kind = "cpu" if on_cpu else "cuda"
    _known[:] = [Group(rank, size, sharded, kind, environment, words)]
    return current()


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("true", "1")


def _is_of_a_lost_member(error: RuntimeError) -> bool:
    """Of gloo torch has no class of error; its words name the connection."""
    import torch

    said = str(error)
    return isinstance(error, torch.distributed.DistError) or "gloo" in said or "Connection" in said
