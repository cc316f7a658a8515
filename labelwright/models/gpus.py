"""GPUs of this machine as CUDA names them. Counts none, which takes torch (``labelwright.models.loading``)."""

from __future__ import annotations

import os

# The variable by which a process is told which GPUs it sees.
VISIBLE = "CUDA_VISIBLE_DEVICES"


def named_gpus() -> list[str] | None:
    """Those that the environment lets this process see, by number or name, in order; None where it says nothing."""
    said = os.environ.get(VISIBLE)
    return None if said is None else [one.strip() for one in said.split(",") if one.strip()]
