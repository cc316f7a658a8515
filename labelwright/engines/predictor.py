"""Answers with a fitted small classifier in a language model's place: n-grams, a head on sentence embeddings.

Takes each prompt's row and nothing else of it, and gives log-probabilities, so that whatever works on an engine works
on a predictor. Imports no more than the predictor does: no torch for n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError
from labelwright.models.weights import Predictor as PredictorWeights
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.protocol import Predictor
from labelwright.predictors.store import load_predictor
from labelwright.prompt import Rendered, Template
from labelwright.reading import opening
from labelwright.statistics.calibration import Calibration

# What float32 heads may be off by, and far less than what a damaged one is.
_SUM_TOLERANCE = 1e-3


class PredictorEngine:
    """``labelwright.engines.protocol.Engine`` over a ``labelwright.predictors.protocol.Predictor``.

    Parameters
    ----------
    predictor : Predictor
    labels : sequence
        What its columns stand for. An option is found by its text: a space and ``str`` of the label.
    name : str
        What to call it in reports.

    Raises
    ------
    BundleError
        If two labels read the same.
    """

    def __init__(self, predictor: Predictor, labels: Sequence[Any], name: str) -> None:
        self.name = name
        self.template = Template()
        self.predictor = predictor
        self._names = [str(label) for label in labels]
        self._columns = {f" {label}": column for column, label in enumerate(self._names)}
        if len(self._columns) < len(self._names):
            raise BundleError(f"{name}: two of its {len(self._names)} labels read the same; rename one and train again")

    @classmethod
    def open(cls, weights: PredictorWeights, settings: EngineSettings) -> PredictorEngine:
        """Load the weights' predictor. It chooses its own device; of the settings ``long_rows`` counts."""
        predictor, labels = load_predictor(weights.folder)
        if hasattr(predictor, "long_texts"):
            predictor.long_texts = LongTexts(settings.long_rows)
        return cls(predictor, labels, weights.base)

    @property
    def n_shortened(self) -> int:
        """Rows shortened so far, as the encoder behind the predictor reads only so many tokens."""
        long_texts = getattr(self.predictor, "long_texts", None)
        return long_texts.n_shortened if long_texts is not None else 0

    def score(
        self, prompts: Sequence[Rendered], options: Sequence[str], calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """As in the protocol. -inf where the probability is 0, or the predictor has never seen the label.

        Raises
        ------
        BundleError
            If it knows none of the options, or its probabilities are not numbers, one a label.
        """
        columns = [self._columns.get(option, -1) for option in options]
        if options and max(columns) < 0:
            raise BundleError(
                f"{self.name} knows none of the {len(options)} options, such as {options[0]!r}; expected its labels by "
                f"name, such as {self._names[0]!r}: export the bundle again"
            )
        # A last column of zeros, to which -1 points.
        probs = np.pad(self._probabilities(prompts), ((0, 0), (0, 1)))
        with np.errstate(divide="ignore"):
            return np.log(np.clip(probs[:, columns], 0.0, 1.0))

    @property
    def reads_images(self) -> bool:
        """It learnt from the words of rows, and answers by them, whether they have images or not."""
        return True

    def generate(self, prompts: Sequence[Rendered], max_new_tokens: int = 8, stop: Sequence[str] = ()) -> list[str]:
        """The likeliest label behind a space, as a model would write it; it is never cut to ``max_new_tokens``."""
        answers = []
        for best in self._probabilities(prompts).argmax(axis=1):
            answer = f" {self._names[best]}"
            answers.append(answer[: min((answer.index(end) for end in stop if end in answer), default=None)])
        return answers

    def count_tokens(self, text: str) -> int:
        """Number of words: a predictor has no tokens, and these are the nearest to what it reads."""
        return len(text.split())

    def _probabilities(self, prompts: Sequence[Rendered]) -> NDArray[np.float64]:
        shape = (len(prompts), len(self._names))
        if not prompts:
            return np.empty(shape)
        # Parts that cannot work together (a head for other vectors) show here first; the error says it all.
        with opening(Path(self.name)), np.errstate(all="ignore"):
            probs = np.asarray(self.predictor.probabilities([prompt.user for prompt in prompts]), dtype=np.float64)
        if probs.shape != shape or not np.isfinite(probs).all() or not _are_shares(probs):
            raise BundleError(
                f"{self.name} gave probabilities of shape {probs.shape}, expected {shape}, numbers that add up to 1: "
                f"its files do not fit together; export the bundle again"
            )
        return probs


def _are_shares(probs: NDArray[np.float64]) -> bool:
    """Whether every row is a distribution."""
    return bool((probs >= -_SUM_TOLERANCE).all() and (np.abs(probs.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())
