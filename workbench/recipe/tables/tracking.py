"""``[tracking]``: where MLflow keeps what was found, and what of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated

from labelwright.errors import RecipeError
from labelwright.settings import Check, Range, Text
from workbench.recipe.faults import store_fault

DEFAULT_TRACKING_URI = "sqlite:///runs/mlflow.db"


@dataclass(frozen=True)
class TrackingTable:
    """``[tracking]``: MLflow's store and experiment. The environment's MLFLOW_TRACKING_URI goes before ``uri``.

    Attributes
    ----------
    evaluation_rows : int
        Test rows that are recorded one by one with what the chief candidates answered, wrong and unsure ones first.
    review_rows : int
        Rows in doubt that people are asked about.
    wait_s : float
        Seconds that a command waits for a server in all; what is not there by then, the next command brings.
    """

    uri: Annotated[str, Text(), Check(store_fault)] = ""
    experiment: Annotated[str, Text(most=400)] = ""
    system_metrics: bool = True
    evaluation_rows: Annotated[int, Range(0, 10_000)] = 200
    review_rows: Annotated[int, Range(0, 10_000)] = 100
    wait_s: Annotated[float, Range(0, 3600)] = 9.0

    def __post_init__(self) -> None:
        if re.search("://[^@]*:[^@]*@", self.uri):
            # The recipe is recorded with every run, and this message with who runs it.
            raise RecipeError(
                "uri holds a password: take it out, and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, in the environment"
            )

    def resolved_uri(self) -> str:
        """The store to write to: the environment's, the recipe's, or SQLite under ``runs/``."""
        return os.environ.get("MLFLOW_TRACKING_URI") or self.uri or DEFAULT_TRACKING_URI
