"""The bundle as an MLflow model, logged as this file rather than as a pickle.

MLflow copies the file and the ``labelwright`` package beside the bundle and runs the file when the model is loaded, so
it imports nothing else of this repository.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from labelwright.decisions.answered import table_columns
from labelwright.errors import DataError
from labelwright.serve.wires.tables import read_rows


class BundleModel(PythonModel):
    """Labels texts with the classifier in the artifact ``bundle``."""

    def load_context(self, context: Any) -> None:
        """Open the bundle; what answers in it loads with the first prediction or here, as the classifier decides."""
        from labelwright.classifier import Classifier

        self._classifier = Classifier.from_bundle(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a text, as ``labelwright.decisions.answered.table_row`` says it.

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
        bundle = self._classifier.bundle_
        task, text = bundle.task, bundle.task.text
        # MLflow drops columns that the signature does not name, and with the last one all rows.
        if not {*text.names, task.image_column or "text", "text"} & {*model_input.columns}:
            raise DataError(
                f"the table has no column of text: expected {text}"
                f"{'' if 'text' in text.names else ', or whole texts in a column text'}; name its columns so"
            )
        said = self._classifier.table(read_rows(model_input.to_dict("records"), task, "the table"))
        return pd.DataFrame({name: [row[name] for row in said] for name in table_columns(bundle)})


set_model(BundleModel())
