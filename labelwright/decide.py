"""A row's way: look up what it is shown with, render, score, calibrate. Everything that answers goes through here.

Stages, the classifier, the export and the server ask the same functions, so that what was measured is what answers.

Who ends with probabilities says which calibration makes them, so that the engine knows which options can matter. Who
keeps scores, or fits something on them, gets every option's score to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.engines.one_hot import unanswered
from labelwright.engines.protocol import Engine, has_probabilities, score_options
from labelwright.errors import ModelError
from labelwright.predictors.encoders.neighbours import nearest
from labelwright.prompt import Prompt, Rendered
from labelwright.statistics.calibration import UNCALIBRATED, Calibration


def render_rows(prompt: Prompt, texts: Sequence[str]) -> list[Rendered]:
    """The prompts of rows, each with the labelled rows that it is most like, where the prompt shows any.

    Raises
    ------
    MissingExtraError, ModelError
        With neighbours, where their encoder cannot be opened.
    """
    if prompt.neighbours is None:
        return prompt.render_all(texts)
    return prompt.render_all(texts, nearest(prompt.neighbours, [text.strip() for text in texts]))


def option_scores(
    prompt: Prompt, engine: Engine, texts: Sequence[str], calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """Option log-probabilities as the engine gives them, (n_texts, n_labels).

    -inf for labels that a row cannot have (letters of no choice, answers to other points). A row to which the engine
    gave no usable answer is -inf throughout, so that nothing that is done to it later makes an answer of it.

    Parameters
    ----------
    calibration : Calibration, optional
        What will be applied to them, as in ``Engine.score``. None where that is not known: nothing is left unexpanded.
    """
    plain = replace(calibration or UNCALIBRATED, rotations=False)
    query = Query.of(prompt, plain, texts, whole=calibration is None)
    return query.log_scores(query.asked_of(engine), has_probabilities(engine))


def log_scores(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Uncalibrated log-scores, (n_texts, n_labels), every option's to its end: to be kept, or to fit something on.

    They are the option log-probabilities; with ``calibration.rotations``, the mean over all cyclic orders of a row's
    choices of log P(choice), in which a liking for a letter cancels out.
    """
    query = Query.of(bundle.prompt, bundle.calibration, texts, whole=True)
    return query.log_scores(query.asked_of(engine), has_probabilities(engine))


def probabilities(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Calibrated label probabilities, shape (n_texts, n_labels).

    Each row sums to 1, and is within a total variation of the engine's ``unexpanded_mass`` of what full expansion
    gives; a row without an answer (``labelwright.statistics.metrics.answers``) is all 0.
    """
    return calibrated(bundle.prompt, bundle.calibration, engine, texts)


def calibrated(prompt: Prompt, calibration: Calibration, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """``probabilities`` of a bundle with this prompt and this calibration."""
    query = Query.of(prompt, calibration, texts)
    return query.probabilities(query.asked_of(engine), has_probabilities(engine))


@dataclass(frozen=True)
class Query:
    """What an engine is asked for some rows, and what becomes of the scores that it gives.

    ``calibrated`` is both in one call; a server, whose event loop cannot wait in a call, does the same in two.

    Attributes
    ----------
    texts : tuple of str
        As they are scored: a row with choices may be, in every cyclic order of these.
    n_orders : tuple of int
        How many of the texts are one row's, a row; empty where each is one.
    whole : bool
        Whether every option is scored to its end.
    reading : tuple of int
        Where several points are asked of a row, which of what is rendered each text is read in; empty where each text
        is rendered by itself.
    """

    prompt: Prompt
    calibration: Calibration
    texts: tuple[str, ...]
    n_orders: tuple[int, ...] = ()
    whole: bool = False
    reading: tuple[int, ...] = ()

    @classmethod
    def of(cls, prompt: Prompt, calibration: Calibration, texts: Sequence[str], whole: bool = False) -> Query:
        """The query of rows; with ``calibration.rotations`` all orders of their choices are asked."""
        if calibration.rotations and (orders := prompt.orders_of(texts)):
            return cls(prompt, calibration, tuple(chain.from_iterable(orders)), tuple(map(len, orders)), whole)
        # All points of a row come out of one reading of it.
        place: dict[str, int] = {}
        reading = tuple(place.setdefault(prompt.read_of(text), len(place)) for text in texts) if prompt.points else ()
        # Without choices of its own a row has no orders to turn.
        return cls(prompt, replace(calibration, rotations=False), tuple(texts), (), whole, reading)

    @property
    def expansion(self) -> Calibration | None:
        """What the engine is told of the calibration; None where every option is scored to its end."""
        # A label that a row cannot have may hold most of what a bound is taken of, so nothing is left to it.
        return None if self.whole or self.prompt.restricts_rows else self.calibration

    def rendered(self) -> list[Rendered]:
        """The prompts that are asked. Raises as ``render_rows``."""
        if not self.reading:
            return render_rows(self.prompt, self.texts)
        first = dict(reversed(list(zip(self.reading, self.texts, strict=True))))
        return render_rows(self.prompt, [first[place] for place in range(len(first))])

    def asked_of(self, engine: Engine) -> NDArray[np.float64]:
        """What an engine gives, (n_asked, n_labels)."""
        return score_options(engine, self.rendered(), self.prompt.options, self.expansion)

    def log_scores(self, scores: NDArray[np.float64], of_a_model: bool = True) -> NDArray[np.float64]:
        """Uncalibrated log-scores of the rows, (n_rows, n_labels); -inf for labels that a row cannot have.

        Parameters
        ----------
        scores : array (n_asked, n_labels)
        of_a_model : bool
            ``labelwright.engines.protocol.has_probabilities`` of the engine that gave them.

        Raises
        ------
        ModelError
            Scores of an engine that names one winner, where several points are asked.
        """
        if not of_a_model and self.prompt.points:
            raise ModelError(
                "the engine names one answer and gives no probabilities, and several points are asked of each row: "
                'answer with one that does, such as [model] backend = "transformers"'
            )
        if not of_a_model:
            scores = np.where(unanswered(scores)[:, None], -np.inf, scores)
        if self.reading:
            scores = scores[list(self.reading)]
        if (classes := self.prompt.classes_of(self.texts)) is not None:
            scores = np.where(classes, scores, -np.inf)
        return _mean_over_orders(scores, self.n_orders) if self.n_orders else scores

    def probabilities(self, scores: NDArray[np.float64], of_a_model: bool = True) -> NDArray[np.float64]:
        """Calibrated probabilities of the rows, (n_rows, n_labels); parameters as in ``log_scores``."""
        return self.calibration.apply(self.log_scores(scores, of_a_model))


def _mean_over_orders(scores: NDArray[np.float64], n_orders: Sequence[int]) -> NDArray[np.float64]:
    out = np.full((len(n_orders), scores.shape[1]), -np.inf)
    start = 0
    for row, n in enumerate(n_orders):
        block = scores[start : start + n, :n]
        start += n
        answered = ~np.isneginf(block).all(axis=1)
        if not answered.any():
            continue
        block[~answered] = 0.0
        log_probs = block - np.logaddexp.reduce(block, axis=1, keepdims=True)
        # In order r, choice k stands behind letter k - r.
        orders_answered = np.flatnonzero(answered).tolist()
        out[row, :n] = [np.mean([log_probs[r, (k - r) % n] for r in orders_answered]) for k in range(n)]
    return out
