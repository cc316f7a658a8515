"""What fits into a device's memory: how running out of it looks, and how many tokens a pass may have.

An accelerator is asked: a pass is made, and what it took at most is read off the allocator. The processor's memory is
the system's, and there a pass is sized for speed. Nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

# Of what is free; the rest is for what a trial pass does not show, such as a long prefix.
SHARE = 0.5


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has no memory left.

    PyTorch has a class for it on some accelerators; Apple's and its allocator of main memory say it in words.
    """
    said = str(error)
    words = "out of memory" in said or "allocate memory" in said
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and words)


def give_back(device: torch.device | str) -> None:
    """Return what the allocator keeps of an accelerator's memory for later."""
    kind = torch.device(device).type
    if kind in ("cuda", "mps"):
        getattr(torch, kind).empty_cache()


class Meter(Protocol):
    """Reads an accelerator's memory."""

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
        self._device = device

    def free_bytes(self) -> int:
        """See ``Meter``: what the driver has, and what the allocator holds unused."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return free + torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """See ``Meter``."""
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        run()
        return torch.cuda.max_memory_allocated(self._device) - before


def meter_of(device: torch.device) -> Meter | None:
    """A device's meter; None where there is none: Apple's keeps no peak, and the processor's memory is the system's."""
    return CudaMeter(device) if device.type == "cuda" else None


def fitting_tokens(meter: Meter, trial: Callable[[int], object], most: int) -> int:
    """How many tokens a pass may have, at most ``most`` and at least the trial's.

    Two passes of different size are made; what they take beyond each other is what a token takes.

    Parameters
    ----------
    trial : callable
        Makes a pass of so many tokens.
    """
    small, large = most // 64, most // 16
    if not small:
        return most
    # The first pass also takes what the libraries need once.
    meter.peak_bytes(lambda: trial(small))
    took = [meter.peak_bytes(lambda n=n: trial(n)) for n in (small, large)]  # type: ignore[misc]
    a_token = (took[1] - took[0]) / (large - small)
    if a_token <= 0:
        return most
    fits = large + (SHARE * meter.free_bytes() - took[1]) / a_token
    return max(min(most, int(fits)), small)
