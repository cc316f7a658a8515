"""The scikit-learn estimator over an engine and a bundle.

``fit`` makes the cheapest bundle there is: the untuned prompt, calibrated on the rows given. Tuning is the workbench's;
what it exports is opened with ``Classifier.from_bundle``. Engines are opened when first needed, and are neither
parameters nor part of a clone or a pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.arrays import encoded_labels, texts_of
from labelwright.data.asked.asking import AskedRow, asking
from labelwright.data.asked.classes import blocks_of
from labelwright.data.task import Label, Task
from labelwright.decide import log_scores, probabilities
from labelwright.decisions.answered import Record, answer, labels_said, table_row
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, MissingExtraError, RecipeError
from labelwright.labelling import of_rows
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
        Columns of ``predict_proba``: sorted after ``fit``, in the bundle's order after ``from_bundle``. Of a bundle
        with several questions a list of such arrays, one a question.
    outputs_ : list of str
        The names of the questions; only where there are several.
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
        classifier._adopt(bundle, _classes(bundle.task))
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
            Other lengths, fewer than two labels, several labels in a row, something that is not text.
        """
        texts = texts_of(X)
        _refuse_several(y)
        classes, gold = encoded_labels(y, len(texts))
        task = Task("classifier", self.instructions, tuple(Label(str(name)) for name in classes))
        weights = Base(self.model)
        engine = self._engine(weights)
        bundle = Bundle(task, Prompt.for_task(task, engine.template, self.style), weights, Calibration())
        calibration = fit_calibration(log_scores(bundle, engine, texts), gold)
        self._adopt(bundle.with_stage({"stage": "fit", "n_rows": len(texts)}, calibration=calibration), classes)
        return self

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Calibrated probabilities of shape (n_rows, n_labels), columns as in ``classes_``.

        A row of zeros is one to which a server gave no usable answer.

        Where rows bring their own choices, ``X`` holds (text, choices) pairs, and column k is a row's choice k. Of a
        bundle with one question that takes any of its labels, a column is the probability that its label applies, so
        that a row does not add up to 1 (scikit-learn's multi-label convention). Of one with several questions there is
        a list of such arrays, one a question in the order of ``outputs_`` (scikit-learn's multi-output convention).
        Where the bundle reads images, ``X`` may hold images, as paths or bytes, and rows of columns as dictionaries.
        """
        rows = self._rows(X)
        task, probs = self.bundle_.task, self._probabilities(rows)
        if not task.points:
            return probs
        blocks = blocks_of(task, probs.reshape(len(rows), len(task.points), len(task.names)))
        return blocks[0] if len(blocks) == 1 else blocks

    def answered(self, X: Any) -> list[Record]:  # noqa: N803
        """What `labelwright predict` says of each row: ``label``, ``confidence``, ``probabilities`` and why none.

        Raises DataError as ``predict_proba``.
        """
        return self._said(self._rows(X), answer)

    def table(self, rows: Sequence[AskedRow]) -> list[Record]:
        """The same of rows as they are asked, as a table has it (``labelwright.decisions.answered.table_row``)."""
        check_is_fitted(self, "bundle_")
        return self._said(rows, table_row)

    def outside(self, X: Any, probs: NDArray[np.float64]) -> NDArray[np.bool_] | None:  # noqa: N803
        """Which rows belong to no label, (n_rows,); None where the bundle does not ask. ``probs`` are theirs."""
        return self._outside(self._rows(X), probs)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The label that the bundle's decision gives each text, shape (n_rows,); None where it gives none.

        Where rows bring their own choices, the text of the choice. Of a bundle with one question that takes any of its
        labels, each is the list of labels that apply; of one with several questions, a dict from their names to a
        label, a list of them, or None. Both are objects in an array of shape (n_rows,).
        """
        threshold = self.abstain_below
        if threshold is not None and not 0 <= threshold <= 1:
            raise RecipeError(f"abstain_below is {threshold!r}: expected a probability in [0, 1], or None")
        rows = self._rows(X)
        if self.bundle_.task.points:
            return self._labels_of_points(rows)
        with one_pass():
            probs = self._probabilities(rows)
            decided = self.bundle_.decision.decide(probs, self._outside(rows, probs))
        labels = self.classes_[decided.choice] if len(probs) else self.classes_[:0]
        if rows and rows[0].choices is not None:
            labels = np.array(
                [(row.choices or ())[k] for row, k in zip(rows, decided.choice, strict=True)], dtype=object
            )
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

    def _adopt(self, bundle: Bundle, classes: Any) -> None:
        self.bundle_, self.classes_ = bundle, classes
        if len(bundle.task.questions) > 1:
            self.outputs_ = [question.name for question in bundle.task.questions]

    def _rows(self, X: Any) -> list[AskedRow]:  # noqa: N803
        """X as rows that are asked; images in it are read."""
        check_is_fitted(self, "bundle_")
        task = self.bundle_.task
        if task.image_column and not isinstance(X, str) and getattr(X, "ndim", 1) == 1:
            X = texts_of_images(list(X), task.text, task.image_column)  # noqa: N806
        return asking(task).rows_of(X)

    def _probabilities(self, rows: Sequence[AskedRow]) -> NDArray[np.float64]:
        """Of all texts of rows, (n_texts, n_labels)."""
        texts = [text for row in rows for text in row.texts]
        if not texts:
            return np.empty((0, len(self.bundle_.task.names)))
        return probabilities(self.bundle_, self._engine(self.bundle_.weights), texts)

    def _outside(self, rows: Sequence[AskedRow], probs: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        if self.bundle_.scope is None or not len(probs):
            return None
        found: NDArray[np.bool_] = self.bundle_.outside([row.texts[0] for row in rows], probs)
        return found

    def _said(self, rows: Sequence[AskedRow], say: Callable[..., Record]) -> list[Record]:
        with one_pass():
            scored = self._probabilities(rows)
            outside = self._outside(rows, scored)
        of_each = [one for one in of_rows(rows, list(scored)) if isinstance(one, np.ndarray)]
        beyond = [None] * len(rows) if outside is None else outside.tolist()
        return [
            say(self.bundle_, probs, row.choices, is_outside)
            for row, probs, is_outside in zip(rows, of_each, beyond, strict=True)
        ]

    def _labels_of_points(self, rows: Sequence[AskedRow]) -> NDArray[Any]:
        said = [labels_said(record, self.abstain_below or 0.0) for record in self._said(rows, answer)]
        found = np.empty(len(said), dtype=object)
        found[:] = said
        return found

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


def _classes(task: Task) -> Any:
    """What columns of ``predict_proba`` stand for."""
    if not task.points:
        return np.array(task.names)
    of_each = [np.array([label.name for label in one.labels or one.answers]) for one in task.questions]
    return of_each[0] if len(of_each) == 1 else of_each


def _refuse_several(y: Any) -> None:
    several = (list, tuple, set, frozenset, dict, np.ndarray)
    if not isinstance(y, str) and any(isinstance(one, several) for one in y):
        raise DataError(
            "y has several labels in a row: expected one label a row; tune a classifier of several with a recipe "
            '([task] kind = "labels", or questions), and open it with Classifier.from_bundle'
        )
