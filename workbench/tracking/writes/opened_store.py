"""A store that was opened for a recipe's run: its client, the experiment, and which MLflow run each key stands for.

Run ids are kept in the run's folder, so a continued run writes to the same MLflow runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from labelwright.files import write_json
from labelwright.plain_text import without_passwords
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RunFolder
from workbench.tracking.entries import PARENT
from workbench.tracking.journal import MADE, read_made
from workbench.tracking.store import TrackingError, sqlite_path

# The tag of all MLflow runs of one recipe run: the name of its folder.
RECIPE_RUN = "recipe_run"
# The same of its evaluation runs, which are none of those.
EVALUATION_OF = "evaluation_of"


class OpenedStore:
    """Opened when it is made: the experiment is there, and the parent run.

    Parameters
    ----------
    uri : str
        The store's address.
    is_given_up : callable
        Whether nobody waits for the call any more that is being answered.

    Attributes
    ----------
    client : mlflow.MlflowClient
    state : dict
        What the store made of the run: see ``workbench.tracking.journal.read_made``.
    """

    def __init__(self, uri: str, recipe: Recipe, folder: RunFolder, is_given_up: Callable[[], bool]) -> None:
        self.uri = uri
        self.recipe = recipe
        self.folder = folder
        self.state = read_made(folder)
        self.monitors: dict[str, Any] = {}
        self._begun: dict[str, int] = {}
        self._is_given_up = is_given_up
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment, shown = self._experiment_id(), without_passwords(uri)
        state = self.state
        if state.get("uri") != shown or not self._exists(state.get("run_id")):
            # What another store made, or belonged to a run that is gone, is not known here.
            state.clear()
            tags = {"recipe": str(recipe.path), "folder": str(folder.path), RECIPE_RUN: folder.path.name}
            name = f"{recipe.name}-{folder.path.name}"
            run_id = self.client.create_run(experiment, run_name=name, tags=tags).info.run_id
            state.update({"uri": shown, "experiment_id": experiment, "run_id": run_id, "runs": {}})
            self.save()
        # A run can only be entered under its own experiment, whatever was active before.
        mlflow.set_experiment(experiment_id=self.client.get_run(state["run_id"]).info.experiment_id)

    def save(self) -> None:
        """Write the state."""
        if self._is_given_up():
            raise TimeoutError("nobody waits for this call any more, and the state is written by others")
        write_json(self.folder.path / MADE, self.state)

    def run_id(
        self, key: str, name: str = "", tags: Mapping[str, str] | None = None, at_ms: int | None = None
    ) -> str | None:
        """The MLflow run behind a key, made where an entry names it, as begun at that time; else None."""
        state = self.state
        if key == PARENT:
            return str(state["run_id"])
        known = state.setdefault("runs", {})
        if key not in known:
            if tags is None:
                return None
            stamp = self.folder.path.name
            of_run = {RECIPE_RUN: stamp, "mlflow.parentRunId": state["run_id"]}
            # What shows single rows of a candidate is no second candidate in the table of runs; and MLflow lists no
            # children among the evaluation runs.
            tags = {**tags, **({EVALUATION_OF: stamp} if "mlflow.runType" in tags else of_run)}
            made = self.client.create_run(state["experiment_id"], start_time=at_ms, run_name=name, tags=tags)
            known[key] = made.info.run_id
            self.save()
        return str(known[key])

    def begun_ms(self, run_id: str) -> int:
        """When an MLflow run began; asked once."""
        if run_id not in self._begun:
            self._begun[run_id] = self.client.get_run(run_id).info.start_time
        return self._begun[run_id]

    def _experiment_id(self) -> str:
        name = self.recipe.tracking.experiment or self.recipe.name
        store = sqlite_path(self.uri)
        artifacts = (store.parent / "mlartifacts").as_uri() if store else None
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise TrackingError(f"experiment {name!r} was deleted; restore it, or set another in [tracking]")
        return str(experiment.experiment_id if experiment else self.client.create_experiment(name, artifacts))

    def _exists(self, run_id: str | None) -> bool:
        try:
            return run_id is not None and self.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
