"""The scikit-learn estimator over an engine and a bundle.

``fit`` makes the cheapest bundle there is: the untuned prompt, calibrated on the rows given. Tuning is the workbench's;
what it exports is opened with ``Classifier.from_bundle``. Engines are opened when first needed, and are neither
parameters nor part of a clone or a pickle.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.arrays import encoded_labels, texts_of
from labelwright.data.choices import lettered, split_lettered
from labelwright.data.task import Label, Task
from labelwright.decide import log_scores, probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, MissingExtraError, RecipeError
from labelwright.models.weights import Base, Weights
from labelwright.pictures.rows import texts_of_images
from labelwright.predictors.encoders.sentence_encoder import one_pass
from labelwright.prompt import Prompt, Style
from labelwright.statistics.calibration import Calibration, fit_calibration

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise MissingExtraError('the estimator needs scikit-learn: pip install "labelwright[sklearn]"') from error

INSTRUCTIONS = "Choose the label that fits the message."


class Classifier(ClassifierMixin, BaseEstimator):
    """Classifies texts with a small language model that can only answer with a label.

    Parameters
    ----------
    model : str, default="smollm2"
        "smollm2", a Hugging Face id, or a local folder.
    instructions : str
        What the model is told before the list of labels.
    style : {"name", "code", "letter"}, default="name"
        Whether it answers with a label's name, a two-letter code, or the letter before the label in the list.
    device, dtype : str, default="auto"
        As in ``labelwright.engines.opening.open_engine``.
    abstain_below : float, optional
        In [0, 1]. ``predict`` answers None where the label's probability is lower; without it, where the bundle says.

    Attributes
    ----------
    classes_ : ndarray of shape (n_labels,)
        Columns of ``predict_proba``: sorted after ``fit``, in the bundle's order after ``from_bundle``.
    bundle_ : Bundle
        Task, prompt, weights and calibration; ``labelwright.bundle.store.save`` writes it.

    Examples
    --------
    >>> classifier = Classifier(instructions="Name the trade that this message is for.")
    >>> classifier.get_params()["model"]
    'smollm2'
    """

    def __init__(
        self,
        model: str = "smollm2",
        instructions: str = INSTRUCTIONS,
        style: Style = "name",
        device: str = "auto",
        dtype: str = "auto",
        abstain_below: float | None = None,
    ) -> None:
        self.model = model
        self.instructions = instructions
        self.style = style
        self.device = device
        self.dtype = dtype
        self.abstain_below = abstain_below

    @classmethod
    def from_bundle(cls, bundle: Bundle | Path | str, engine: Engine | None = None, **params: Any) -> Classifier:
        """A fitted classifier that answers as a bundle does.

        Parameters
        ----------
        bundle : Bundle or Path
            A bundle, or the folder of one.
        engine : Engine, optional
            Already opened on the bundle's weights.
        **params
            ``device``, ``dtype`` and ``abstain_below``; the rest is the bundle's.
        """
        if not isinstance(bundle, Bundle):
            bundle = load(bundle)
        prompt = bundle.prompt
        classifier = cls(model=bundle.weights.base, instructions=prompt.instructions, style=prompt.style, **params)
        if engine is not None:
            classifier.use_engine(engine)
        classifier._adopt(bundle, np.array(bundle.task.names))
        return classifier

    def use_engine(self, engine: Engine) -> Classifier:
        """Answer with an engine that is already open, instead of opening one. Returns self."""
        self._given_engine = engine
        return self

    def fit(self, X: Any, y: Any) -> Classifier:  # noqa: N803 (scikit-learn's name)
        """Make the untuned bundle for these labels and calibrate it on these rows.

        The model itself learns nothing, so that the rows are as good as unseen ones for the calibration.

        Parameters
        ----------
        X : sequence of str, of length n_rows
        y : sequence of labels, of length n_rows
            At least two different ones; ``str`` of a label is the name that the model reads.

        Returns
        -------
        self

        Raises
        ------
        DataError
            Other lengths, fewer than two labels, something that is not text.
        """
        texts = texts_of(X)
        classes, gold = encoded_labels(y, len(texts))
        task = Task("classifier", self.instructions, tuple(Label(str(name)) for name in classes))
        weights = Base(self.model)
        engine = self._engine(weights)
        bundle = Bundle(task, Prompt.for_task(task, engine.template, self.style), weights, Calibration())
        calibration = fit_calibration(log_scores(bundle, engine, texts), gold)
        self._adopt(bundle.with_stage({"stage": "fit", "n_rows": len(texts)}, calibration=calibration), classes)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Calibrated probabilities of shape (n_rows, n_labels), columns as in ``classes_``.

        A row of zeros is one to which a server gave no usable answer.

        Where rows bring their own choices, ``X`` holds (text, choices) pairs, and column k is a row's choice k. Where
        the bundle reads images, ``X`` may hold images, as paths or bytes, and rows of columns as dictionaries.
        """
        check_is_fitted(self, "bundle_")
        texts = self._read(X)
        if not texts:
            return np.empty((0, len(self.classes_)))
        return probabilities(self.bundle_, self._engine(self.bundle_.weights), texts)

    def outside(self, X: Any, probs: NDArray[np.float64]) -> NDArray[np.bool_] | None:  # noqa: N803
        """Which rows belong to no label, (n_rows,); None where the bundle does not ask. ``probs`` are theirs."""
        check_is_fitted(self, "bundle_")
        if self.bundle_.scope is None or not len(probs):
            return None
        found: NDArray[np.bool_] = self.bundle_.outside(self._read(X), probs)
        return found

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The label that the bundle's decision gives each text, shape (n_rows,); None where it gives none.

        Where rows bring their own choices, the text of the choice.
        """
        threshold = self.abstain_below
        if threshold is not None and not 0 <= threshold <= 1:
            raise RecipeError(f"abstain_below is {threshold!r}: expected a probability in [0, 1], or None")
        check_is_fitted(self, "bundle_")
        texts = self._read(X)
        with one_pass():
            probs = self.predict_proba(texts)
            decided = self.bundle_.decision.decide(probs, self.outside(texts, probs))
        labels = self.classes_[decided.choice] if len(probs) else self.classes_[:0]
        if self.bundle_.task.by_row:
            best = zip(texts, decided.choice, strict=True)
            labels = np.array([split_lettered(text)[1][k] for text, k in best], dtype=object)
        silent = decided.said < 0
        if threshold is None and not silent.any():
            return labels
        said = labels.astype(object)
        said[silent | (decided.confidence < (threshold or 0.0))] = None
        return said

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "bundle_")

    def __getstate__(self) -> dict[str, Any]:
        engines = ("_given_engine", "_opened")
        return {name: value for name, value in super().__getstate__().items() if name not in engines}

    def _read(self, X: Any) -> list[str]:  # noqa: N803
        """X as the texts that the bundle is asked."""
        task = self.bundle_.task
        if task.image_column and not isinstance(X, str) and getattr(X, "ndim", 1) == 1:
            X = texts_of_images(list(X), task.text, task.image_column)  # noqa: N806
        return _lettered(X) if task.by_row else texts_of(X)

    def _adopt(self, bundle: Bundle, classes: NDArray[Any]) -> None:
        self.bundle_, self.classes_ = bundle, classes

    def _engine(self, weights: Weights) -> Engine:
        """The engine that was given, else one opened for these weights and settings, and kept."""
        if hasattr(self, "_given_engine"):
            return self._given_engine
        settings = EngineSettings(device=self.device, dtype=self.dtype)
        if hasattr(self, "bundle_"):
            settings = replace(
                settings,
                long_rows=self.bundle_.long_rows,
                unexpanded_mass=self.bundle_.unexpanded_mass,
                thinking_tokens=self.bundle_.prompt.template.thinking_tokens,
            )
        key = (weights, settings)
        if getattr(self, "_opened", (None,))[0] != key:
            # Tuned weights are files that may be replaced, so their engine is not shared between classifiers.
            self._opened = (key, _untuned_engine(*key) if weights.folder is None else open_engine(*key))
        return self._opened[1]


@lru_cache(maxsize=1)
def _untuned_engine(weights: Weights, settings: EngineSettings) -> Engine:
    """The engine of a base model; the last is kept, because cross-validation clones and fits again and again."""
    return open_engine(weights, settings)


def _lettered(X: Any) -> list[str]:  # noqa: N803
    """(text, choices) pairs as lettered texts; texts that are lettered already stay."""
    if isinstance(X, str):
        raise DataError(f"X is one string ({X[:40]!r}): expected a list of (text, choices) pairs")
    texts = []
    for number, row in enumerate(X, start=1):
        if isinstance(row, str):
            split_lettered(row)
            texts.append(row)
        elif isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str):
            texts.append(lettered(row[0], list(row[1]), f"row {number} of X"))
        else:
            raise DataError(f"row {number} of X is a {type(row).__name__}: expected a (text, choices) pair")
    return texts
