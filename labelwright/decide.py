"""A row's way: look up what it is shown with, render, score, calibrate. Everything that answers goes through here.

Stages, the classifier, the export and the server ask the same functions, so that what was measured is what answers.

Who ends with probabilities says which calibration makes them, so that the engine knows which options can matter. Who
keeps scores, or fits something on them, gets every option's score to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.data.choices import present, rotations
from labelwright.engines.one_hot import unanswered
from labelwright.engines.protocol import Engine, has_probabilities, score_options
from labelwright.predictors.encoders.neighbours import nearest
from labelwright.prompt import Prompt, Rendered
from labelwright.statistics.calibration import Calibration


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

    Where rows bring their own choices, -inf for the letters that a row does not use. A row to which the engine gave no
    usable answer is -inf throughout, so that nothing that is done to it later (a bias, say) makes an answer of it.

    Parameters
    ----------
    calibration : Calibration, optional
        What will be applied to them, as in ``Engine.score``. None where that is not known: nothing is left unexpanded.
    """
    # A letter that a row does not use may hold most of what a bound is taken of, so nothing is left to it.
    calibration = None if prompt.by_row else calibration
    scores = score_options(engine, render_rows(prompt, texts), prompt.options, calibration)
    if not has_probabilities(engine):
        scores = np.where(unanswered(scores)[:, None], -np.inf, scores)
    return np.where(present(texts, len(prompt.options)), scores, -np.inf) if prompt.by_row else scores


def log_scores(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Uncalibrated log-scores, (n_texts, n_labels), every option's to its end: to be kept, or to fit something on.

    They are the option log-probabilities; with ``calibration.rotations``, the mean over all cyclic orders of a row's
    choices of log P(choice), in which a liking for a letter cancels out.
    """
    if bundle.prompt.by_row and bundle.calibration.rotations:
        return _mean_over_orders(bundle.prompt, engine, texts)
    return option_scores(bundle.prompt, engine, texts)


def probabilities(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """Calibrated label probabilities, shape (n_texts, n_labels).

    Each row sums to 1, and is within a total variation of the engine's ``unexpanded_mass`` of what full expansion
    gives; a row without an answer (``labelwright.statistics.metrics.answers``) is all 0.
    """
    return calibrated(bundle.prompt, bundle.calibration, engine, texts)


def calibrated(prompt: Prompt, calibration: Calibration, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    """``probabilities`` of a bundle with this prompt and this calibration."""
    if prompt.by_row and calibration.rotations:
        return calibration.apply(_mean_over_orders(prompt, engine, texts))
    # Without choices of its own a row has no orders to turn.
    calibration = replace(calibration, rotations=False)
    return calibration.apply(option_scores(prompt, engine, texts, calibration))


def _mean_over_orders(prompt: Prompt, engine: Engine, texts: Sequence[str]) -> NDArray[np.float64]:
    orders = [rotations(text) for text in texts]
    scores = option_scores(prompt, engine, [text for order in orders for text in order])
    out = np.full((len(texts), scores.shape[1]), -np.inf)
    start = 0
    for row, order in enumerate(orders):
        n = len(order)
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
