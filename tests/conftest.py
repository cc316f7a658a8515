"""Settings that must be in place before the libraries are imported."""

import os
from collections.abc import Iterator

# litellm, which DSPy and MLflow import, otherwise fetches a price list on import and can hang without a network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
# Ray reads when it is imported whether it is to stay on this machine, and tests that import it share a process.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import pytest
from hypothesis import settings

# A machine that does something else beside is no fault of the code: how long an example takes decides nothing. Which
# examples are tried depends on the test's code alone, so that a change is not refused for a fault that it found by
# chance elsewhere; `pytest --hypothesis-profile=explore` looks for those.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def float32_where_nobody_says() -> Iterator[None]:
    """dtype "auto" is float32 in this process, as on a machine without native bfloat16: tests tell the same on all."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        for asked in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            patch.setattr(torch.cpu, asked, lambda: False)
        yield
