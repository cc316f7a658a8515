"""The bundle as an MLflow model, logged as this file rather than as a pickle.

MLflow copies the file and the ``labelwright`` package beside the bundle and runs the file when the model is loaded, so
it imports nothing else of this repository.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class BundleModel(PythonModel):
    """Labels texts with the classifier in the artifact ``bundle``."""

    def load_context(self, context: Any) -> None:
        """Open the bundle; the model itself loads with the first prediction or here, as the classifier decides."""
        from labelwright.classifier import Classifier

        self._classifier = Classifier.from_bundle(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a text: ``label``, ``confidence``, and ``probabilities`` by label name.

        Parameters
        ----------
        model_input : DataFrame
            With the texts in a column ``text``, or in its only column.
        """
        column = "text" if "text" in model_input.columns else model_input.columns[0]
        probs = self._classifier.predict_proba([str(text) for text in model_input[column]])
        names = [str(name) for name in self._classifier.classes_]
        return pd.DataFrame(
            {
                "label": [names[k] for k in probs.argmax(axis=1)],
                "confidence": probs.max(axis=1),
                "probabilities": [dict(zip(names, map(float, row), strict=True)) for row in probs],
            }
        )


set_model(BundleModel())
