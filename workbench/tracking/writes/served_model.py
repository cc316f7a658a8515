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
        """Open the bundle; what answers in it loads with the first prediction or here, as the classifier decides."""
        from labelwright.classifier import Classifier

        self._classifier = Classifier.from_bundle(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a text: ``label``, ``confidence``, and ``probabilities`` by label name; ``abstained`` where it may.

        Parameters
        ----------
        model_input : DataFrame
            With the columns that the bundle's texts are made of, or whole texts in a column ``text``, or in its only
            column; and each row's own choices, a list, in a column ``choices`` where rows bring them.
        """
        columns = self._classifier.bundle_.task.text.of_table(list(model_input.columns))
        rows: list[Any] = [columns.read(columns.unwrapped(record)) for record in model_input.to_dict("records")]
        names: list[Any] = [[str(name) for name in self._classifier.classes_]] * len(rows)
        if "choices" in model_input.columns:
            names = [[str(choice) for choice in choices] for choices in model_input["choices"]]
            rows = list(zip(rows, names, strict=True))
        probs = self._classifier.predict_proba(rows)
        decision = self._classifier.bundle_.decision
        decided = decision.decide(probs, self._classifier.outside(rows, probs))
        return pd.DataFrame(
            {
                # None where there is no usable answer, or the bundle abstains.
                "label": [known[k] if k >= 0 else None for known, k in zip(names, decided.said, strict=True)],
                **({"abstained": decided.why} if decision.may_abstain else {}),
                "confidence": decided.confidence,
                "probabilities": [
                    dict(zip(known, map(float, row), strict=False)) for known, row in zip(names, probs, strict=True)
                ],
            }
        )


set_model(BundleModel())
