"""A device's memory: how things get there, what fits, how running out of it looks, how many tokens a pass may have.

An accelerator is asked: a pass is made, and what it took at most is read off the allocator. The processor's memory is
the system's, and there a pass is sized for speed. Nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from labelwright.engines.native.heap import give_back_heap

# Of what is free; the rest is for what a trial pass does not show, such as a long prefix.
SHARE = 0.5


def kind_of(device: torch.device) -> str:
    """ "cpu", or "accelerator": what sizes of passes are told apart by."""
    return "cpu" if device.type == "cpu" else "accelerator"


def to_device(values: Any, device: torch.device | str) -> Tensor:
    """A tensor of an array or of numbers on a device; on CUDA without waiting for what it has still to do."""
    tensor = torch.as_tensor(values)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has no memory left.

    PyTorch has a class for it on some accelerators; Apple's and its allocator of main memory say it in words.
    """
    said = str(error)
    words = "out of memory" in said or "allocate memory" in said
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and words)


def give_back(device: torch.device | str) -> None:
    """Return what the allocator keeps for later: of an accelerator's memory, or of this process's."""
    kind = torch.device(device).type
    if kind in ("cuda", "mps"):
        getattr(torch, kind).empty_cache()
    elif kind == "cpu":
        give_back_heap()


class Meter(Protocol):
    """Reads an accelerator's memory.

    Attributes
    ----------
    device : torch.device
    """

    device: torch.device

    def free_bytes(self) -> int:
        """What may still be taken."""
        ...

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """What something takes at most, beyond what is taken before."""
        ...


class CudaMeter:
    """Of one CUDA device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def free_bytes(self) -> int:
        """See ``Meter``: what the driver has, and what the allocator holds unused."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """See ``Meter``."""
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        run()
        return torch.cuda.max_memory_allocated(self.device) - before


def meter_of(device: torch.device) -> Meter | None:
    """A device's meter; None where there is none: Apple's keeps no peak, and the processor's memory is the system's."""
    return CudaMeter(device) if device.type == "cuda" else None


def fitting_tokens(meter: Meter, trial: Callable[[int], object], most: int) -> int:
    """How many tokens a pass may have, at most ``most`` and at least the smaller trial's: a power of two.

    Two passes of different size are made; what they take beyond each other is what a token takes. Where one of them
    does not fit, the smaller one's size is all that is known to; a pass of it that does not fit is its caller's matter.
    What is free differs a little from run to run, a power of two below it hardly ever.

    Parameters
    ----------
    trial : callable
        Makes a pass of so many tokens.
    most : int
        A power of two.
    """
    small, large = most // 64, most // 16
    if not small:
        return most
    took = []
    # The first pass also takes what the libraries need once.
    for n_tokens in (small, small, large):
        if (peak := _peak_if_it_fits(meter, trial, n_tokens)) is None:
            return small
        took.append(peak)
    a_token = (took[2] - took[1]) / (large - small)
    if a_token <= 0:
        return most
    fits = large + (SHARE * meter.free_bytes() - took[2]) / a_token
    return max(_power_of_two(min(most, int(fits))), small)


def _peak_if_it_fits(meter: Meter, trial: Callable[[int], object], n_tokens: int) -> int | None:
    """What a trial pass takes at most; None where there is no memory for it."""
    try:
        return meter.peak_bytes(lambda: trial(n_tokens))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the except block: its traceback would keep the failed pass's tensors alive.
    give_back(meter.device)
    return None


def _power_of_two(most: int) -> int:
    """The largest one that is no larger; 0 where there is none."""
    return 1 << (most.bit_length() - 1) if most > 0 else 0
