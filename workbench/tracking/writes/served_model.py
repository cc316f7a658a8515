"""The bundle as an MLflow model, logged as this file rather than as a pickle.

MLflow copies the file and the ``labelwright`` package beside the bundle and runs the file when the model is loaded, so
it imports nothing else of this repository.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from labelwright.errors import DataError
from labelwright.serve.wires.tables import read_rows


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
            With the columns that the bundle's texts are made of, or whole texts in a column ``text`` where that is
            none of several; and each row's own choices, a list, in a column ``choices`` where rows bring them.

        Raises
        ------
        DataError
            All rows that have no usable text; a table without any column of it.
        """
        task, decision = self._classifier.bundle_.task, self._classifier.bundle_.decision
        # MLflow drops columns that the signature does not name, and with the last one all rows.
        if not {*task.text.names, task.image_column or "text", "text"} & {*model_input.columns}:
            raise DataError(
                f"the table has no column of text: expected {task.text}"
                f"{'' if 'text' in task.text.names else ', or whole texts in a column text'}; name its columns so"
            )
        read = read_rows(model_input.to_dict("records"), task, "the table")
        rows, names = [text for text, _ in read], [names for _, names in read]
        probs = self._classifier.predict_proba(rows)
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
