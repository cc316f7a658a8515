"""What a backend must be able to do, and how one is opened.

Programs, optimizers, calibration and serving talk to this protocol; none of them knows which backend answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import MissingExtraError, ModelError
from labelwright.prompt import Rendered, Template


@dataclass(frozen=True)
class Weights:
    """Which weights answer: a base model, and what tuning changed.

    Attributes
    ----------
    base : str
        "smollm2", a Hugging Face id, or a local folder.
    adapter : Path, optional
        A PEFT adapter folder to merge into the base.
    full : Path, optional
        A folder with a whole tuned model; the base is then only a name.
    """

    base: str
    adapter: Path | None = None
    full: Path | None = None

    @property
    def folder(self) -> Path | None:
        """The folder that tuning wrote, if any."""
        return self.adapter or self.full


class Engine(Protocol):
    """One loaded model behind one scoring call.

    Rows keep their order. A prompt that does not fit the model's context raises DataError and names the row.
    """

    name: str
    template: Template

    def score(self, prompts: Sequence[Rendered], options: Sequence[str]) -> NDArray[np.float64]:
        """Log-probability of each option, end of turn included, after each prompt.

        Returns
        -------
        ndarray of shape (n_prompts, n_options), natural log, each at most 0, uncalibrated
        """
        ...

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8) -> list[str]:
        """Greedy free text after each prompt, to measure what unconstrained decoding would answer."""
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        ...


def open_engine(
    weights: Weights, *, backend: str = "transformers", device: str = "auto", dtype: str = "auto"
) -> Engine:
    """Load a model and return the engine over it.

    Parameters
    ----------
    backend : str
        "transformers" (in process).
    device : str
        "auto" takes CUDA where there is one, else MPS, else the CPU; or any torch device name.
    dtype : str
        "auto" takes bfloat16 where the hardware multiplies it natively, else float32; or "float32", "bfloat16".

    Raises
    ------
    ModelError
        An unknown backend; a model that cannot be fetched or loaded.
    MissingExtraError
        If torch or transformers are not installed.
    """
    if backend != "transformers":
        raise ModelError(f'engine backend {backend!r} is not known: expected "transformers"')
    try:
        from labelwright.engines.transformers import TransformersEngine
    except ImportError as error:
        raise MissingExtraError(
            f'running a model needs torch and transformers ({error}): pip install "labelwright[transformers]"'
        ) from error

    return TransformersEngine.open(weights, device=device, dtype=dtype)
