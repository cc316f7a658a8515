"""What a backend must be able to do: one call, from rendered prompts and options to log-probabilities.

The answer space is closed, so a model never has to write an answer, and whatever the house does (predict, calibrate,
tune, distil, serve) is made of that call. Who calls it does not know which backend answers; what a backend may leave
out, and how it says so, stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import ModelError
from labelwright.prompt import Rendered, Template
from labelwright.statistics.calibration import Calibration


class Engine(Protocol):
    """One loaded model behind one scoring call.

    Rows keep their order. A prompt that does not fit the model's context raises DataError and names the row, unless
    the settings say that rows are shortened.

    Attributes
    ----------
    name : str
        What to call the model in reports.
    template : Template
        The markup that its prompts must have.
    """

    name: str
    template: Template

    @property
    def n_shortened(self) -> int:
        """Rows shortened to fit the context since the engine was opened; a row scored twice counts twice."""
        ...

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """Log-probability of each option after each prompt.

        Where the tokens of one option are the beginning of another's, the end of turn is scored with each of them, so
        that no option's probability holds another's; otherwise it is left out.

        An engine may leave options unexpanded that cannot matter. Whether they can is decided in the probabilities that
        will be made of the scores: ``softmax(scores)`` after the calibration given here is within a total variation of
        the engine's ``unexpanded_mass`` of what full expansion gives. Such an engine has that attribute; one that
        always scores every option to its end has not, and need not take ``calibration`` (``score_options``).

        Parameters
        ----------
        prompts : sequence of Rendered
        options : sequence of str
        calibration : Calibration, optional
            What the caller will apply to the scores; it is not applied here.
            ``labelwright.statistics.calibration.UNCALIBRATED`` where they count as they are. None where that is not
            known, because they are kept, fitted on or put together: every option is then scored to its end.

        Returns
        -------
        ndarray of shape (n_prompts, n_options), natural log, each at most 0, uncalibrated
        """
        ...

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """Greedy free text after each prompt, to measure what unconstrained decoding would answer.

        A text ends before the first of the strings in ``stop``.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        ...


def has_probabilities(engine: Engine) -> bool:
    """Whether an engine's scores are a model's probabilities; some servers only name a winner."""
    return getattr(engine, "has_probabilities", True)


def n_invalid(engine: Engine) -> int:
    """Answers since an engine was opened that meant none of the options; only servers that answer in text give any."""
    return getattr(engine, "n_invalid", 0)


def is_alive(engine: Engine) -> bool:
    """Whether an engine can still answer; one in a compiled library may be lost for as long as the process lives."""
    return getattr(engine, "is_alive", True)


def close(engine: Engine) -> None:
    """End what an engine has outside of this process, and wait until it has ended."""
    getattr(engine, "close", lambda: None)()


def reads_images(engine: Engine) -> bool:
    """Whether rows may have an image. Who learnt from rows' words alone may be asked about such, by their words."""
    return getattr(engine, "reads_images", False)


def score_options(
    engine: Engine, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """``Engine.score`` of any engine, those included that know nothing of calibration as they expand everything.

    Raises
    ------
    ModelError
        Rows with images, and an engine that would answer without having looked at them.
    """
    if not reads_images(engine) and any(prompt.image for prompt in prompts):
        raise ModelError(
            f"{engine.name} reads no images, and rows have some: choose a vision-language model with the transformers "
            f'backend, or set [data] image_read_by = "ocr"'
        )
    if not hasattr(engine, "unexpanded_mass"):
        return engine.score(prompts, options)
    return engine.score(prompts, options, calibration)
