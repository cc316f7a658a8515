"""Where runs are recorded: one MLflow parent run per recipe run, one child per stage.

Owns every call to MLflow (with ``tracking_model.py``, which MLflow runs when it loads a logged bundle). Run ids are
kept in the run folder's state, so a continued run writes to the same MLflow runs. A store that fails while a stage
works is reported once and does not end the stage.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

# Set before MLflow is imported: it reads them then.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

import mlflow
import mlflow.data.pandas_dataset
import pandas as pd
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from labelwright.errors import LabelwrightError
from labelwright.task import Example
from workbench.folder import RunFolder, append_curve, read_curves, read_json
from workbench.progress import Display
from workbench.recipe import Recipe
from workbench.rungs import Rung
from workbench.tracking_log import log_bundle

_SQLITE = "sqlite:///"
_BATCH = 100  # what the tracking API takes in one call


class TrackingError(LabelwrightError, RuntimeError):
    """The tracking store cannot be opened."""


def quiet() -> None:
    """Keep MLflow's and the database migration's chatter off the console."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"mlflow\.")


class StageRun:
    """One stage's child run; an ``optimizers.stage.Tracker`` that also moves the progress display."""

    def __init__(self, tracking: Tracking, run_id: str, step: dict[str, Any], curves: Path, display: Display) -> None:
        self._tracking = tracking
        self._run_id = run_id
        self._step = step
        self._curves = curves
        self._display = display

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings; on a continued run equal ones are already there."""
        self._tracking.log_params(self._run_id, values)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, with a step as a curve; curves are also kept in the run folder, for the report."""
        self._display.metrics(values)
        if step is not None:
            append_curve(self._curves, step, values)
        self._tracking.log_metrics(self._run_id, values, step)

    def artifact(self, path: Path) -> None:
        """Log a file or a folder."""
        self._tracking.log_artifact(self._run_id, path)

    def prompt(self, role: str, text: str) -> None:
        """Register a prompt version, once for each role and text, and keep the text with the run."""
        self._tracking.register_prompt(self._run_id, self._step, role, text)

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Move the display."""
        self._display.progress(done, total, message)


class Tracking:
    """The parent run of one recipe run. Use ``opened`` as a context; close comes with it."""

    def __init__(self, recipe: Recipe, folder: RunFolder, display: Display) -> None:
        self._recipe = recipe
        self._folder = folder
        self._display = display
        self._failed = False
        quiet()
        self.uri = _absolute(recipe.tracking.resolved_uri())

    @contextmanager
    def opened(self) -> Iterator[Tracking]:
        """Begin or continue the parent run."""
        try:
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            self._client = mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            experiment = self._experiment_id()
            known = self._folder.state.get("mlflow", {})
            run_id = known.get("run_id") if known.get("uri") == self.uri and self._exists(known.get("run_id")) else None
            if run_id is None:
                for step in self._folder.steps:
                    step.pop("mlflow_run_id", None)
                tags = {"recipe": str(self._recipe.path), "folder": str(self._folder.path)}
                name = f"{self._recipe.name}-{self._folder.path.name}"
                run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
                self._folder.state["mlflow"] = {"uri": self.uri, "experiment_id": experiment, "run_id": run_id}
                self._folder.save()
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            first = str(error).strip().splitlines()[0]
            raise TrackingError(
                f"tracking store {self.uri} cannot be opened: {first}; start its server, or set MLFLOW_TRACKING_URI"
            ) from error
        self.run_id: str = run_id
        # A run can only be entered under its own experiment, whatever was active before.
        mlflow.set_experiment(experiment_id=self._client.get_run(run_id).info.experiment_id)
        with mlflow.start_run(run_id=run_id, log_system_metrics=self._recipe.tracking.system_metrics):
            yield self

    @contextmanager
    def stage(self, step: dict[str, Any]) -> Iterator[StageRun]:
        """Begin or continue the child run of a step."""
        run_id = step.get("mlflow_run_id")
        if run_id is None:
            tags = {"stage": step["stage"], "mlflow.parentRunId": self.run_id}
            experiment = self._folder.state["mlflow"]["experiment_id"]
            run_id = self._client.create_run(experiment, run_name=step["folder"], tags=tags).info.run_id
            step["mlflow_run_id"] = run_id
            self._folder.save()
        system = self._recipe.tracking.system_metrics
        with mlflow.start_run(run_id=run_id, nested=True, log_system_metrics=system):
            yield StageRun(self, run_id, step, self._folder.path / step["folder"] / "curves.jsonl", self._display)

    def dataset(self, side: str, rows: Sequence[Example], digest: str) -> None:
        """Record one side of the splits as a dataset of the parent run, once."""
        logged = self._folder.state["mlflow"].setdefault("datasets", [])
        if side in logged:
            return
        frame = pd.DataFrame({"text": [row.text for row in rows], "label": [row.label for row in rows]})
        source = self._recipe.data.path or f"https://huggingface.co/datasets/{self._recipe.data.hub}"
        dataset = mlflow.data.pandas_dataset.from_pandas(
            frame, source=source, targets="label", name=f"{self._recipe.name}.{side}", digest=digest
        )
        self._attempt(lambda: mlflow.log_input(dataset, context=side))
        logged.append(side)
        self._folder.save()

    def log_params(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Log parameters of a run. MLflow refuses to change one; on a continued run the first value stands."""
        have = self._client.get_run(run_id).data.params
        params = [Param(str(key), _text(value)) for key, value in values.items() if str(key) not in have]
        for start in range(0, len(params), _BATCH):
            self._attempt(partial(self._client.log_batch, run_id, params=params[start : start + _BATCH]))

    def log_metrics(self, run_id: str, values: Mapping[str, float], step: int | None = None) -> None:
        """Log finite numbers of a run."""
        now = int(time.time() * 1000)
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, (int, float))}
        metrics = [Metric(key, value, now, step or 0) for key, value in numbers.items() if math.isfinite(value)]
        for start in range(0, len(metrics), _BATCH):
            self._attempt(partial(self._client.log_batch, run_id, metrics=metrics[start : start + _BATCH]))

    def log_artifact(self, run_id: str, path: Path, under: str | None = None) -> None:
        """Log a file or a folder with a run."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._attempt(lambda: log(run_id, str(path), under))

    def register_prompt(self, run_id: str, step: dict[str, Any], role: str, text: str) -> None:
        """Add a version to the recipe's prompt, unless this step registered the same text in this role."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        seen = step.setdefault("prompts", {})
        if seen.get(role, {}).get("digest") == digest:
            return

        def register() -> None:
            version = mlflow.genai.register_prompt(
                name=prompt_name(self._recipe),
                template=text,
                commit_message=f"{step['folder']}, {role}",
                tags={"role": role, "stage": step["stage"], "run_id": run_id, "digest": digest},
            )
            seen[role] = {"version": int(version.version), "digest": digest}

        self._attempt(register)
        self._attempt(lambda: self._client.log_text(run_id, text, f"prompts/{role}.txt"))
        self._folder.save()

    def comparison(self, table: Mapping[str, Sequence[Any]], report: Mapping[str, Any], files: Sequence[Path]) -> None:
        """The leaderboard as a table, its numbers as metrics, the report's files and plots as artifacts."""
        # log_table appends to a table that is there: a later comparison gets a file of its own.
        number = self._folder.state["mlflow"]["comparisons"] = self._folder.state["mlflow"].get("comparisons", 0) + 1
        name = "leaderboard.json" if number == 1 else f"leaderboard-{number}.json"
        self._attempt(lambda: self._client.log_table(self.run_id, dict(table), name))
        by_folder = {step["folder"]: step.get("mlflow_run_id") for step in self._folder.steps}
        for rung in report["rungs"]:
            values = {f"test.{key}": one["value"] for key, one in rung.get("test", {}).items() if one is not None}
            # The store takes no "+" and no "@" in a metric's name.
            name = rung["name"].replace("+", "-").replace("@", ":")
            self.log_metrics(self.run_id, {f"{key}/{name}": value for key, value in values.items()})
            child = by_folder.get(rung.get("step"))
            if child:
                self.log_metrics(child, values)
        for path in files:
            self.log_artifact(self.run_id, path, path.name if path.is_dir() else None)
        self._folder.save()

    def rung(self, rung: Rung, folders: Sequence[Path]) -> None:
        """A child run for a rung that is no step of the run: what it is, what it costs, how its stages went.

        Parameters
        ----------
        folders : sequence of Path
            Of the stages behind it, in order, as ``workbench.chain`` leaves them.
        """
        known = self._folder.state["mlflow"].setdefault("rungs", {})
        if rung.step is not None or rung.failed or known.get(rung.name) == rung.folder:
            return
        tags = {"rung": rung.name, "kind": rung.kind, "mlflow.parentRunId": self.run_id}
        experiment = self._folder.state["mlflow"]["experiment_id"]

        def record() -> None:
            run_id = self._client.create_run(experiment, run_name=rung.name, tags=tags).info.run_id
            self.log_params(run_id, {"about": rung.about, "calibration": rung.calibration.get("variant", "none")})
            self.log_metrics(run_id, {f"cost.{key}": one for key, one in rung.cost.items() if one is not None})
            for number, folder in enumerate(folders):
                self._log_step(run_id, folder, last=number == len(folders) - 1)
            self._client.set_terminated(run_id)
            known[rung.name] = rung.folder

        self._attempt(record)
        self._folder.save()

    def _log_step(self, run_id: str, folder: Path, last: bool) -> None:
        """A stage's settings, its prompts, and, of the last one, its curves."""
        stage = folder.name.partition("-")[0]
        settings = folder / "params.json"
        if settings.is_file():
            self.log_params(run_id, {f"{stage}.{key}": value for key, value in read_json(settings).items()})
        for prompt in sorted(folder.glob("prompt-*.txt")):
            self.log_artifact(run_id, prompt, f"prompts/{stage}")
        for name, points in read_curves(folder / "curves.jsonl").items() if last else ():
            now = int(time.time() * 1000)
            metrics = [Metric(name, value, now, step) for step, value in points if math.isfinite(value)]
            for start in range(0, len(metrics), _BATCH):
                self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH])

    def model(self, bundle: Path, example_texts: Sequence[str]) -> str | None:
        """Log the bundle as a model that ``mlflow models serve`` loads; register it under the recipe's name.

        Returns
        -------
        str or None
            ``models:/name/version``; None where the store refused it.
        """
        uri: list[str] = []

        def log() -> None:
            version = log_bundle(self._recipe.name, bundle, example_texts)
            uri.append(f"models:/{self._recipe.name}/{version}")

        self._attempt(log)
        return uri[0] if uri else None

    def _experiment_id(self) -> str:
        name = self._recipe.tracking.experiment or self._recipe.name
        artifacts = None
        if self.uri.startswith(_SQLITE):
            store = Path(self.uri.removeprefix(_SQLITE)).parent
            store.mkdir(parents=True, exist_ok=True)
            artifacts = (store / "mlartifacts").as_uri()
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise MlflowException(f"experiment {name!r} was deleted; restore it, or set another in [tracking]")
        return experiment.experiment_id if experiment else self._client.create_experiment(name, artifacts)

    def _exists(self, run_id: str | None) -> bool:
        try:
            return run_id is not None and self._client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def _attempt(self, call: Callable[[], Any]) -> None:
        """Call the store; report the first failure and go on."""
        try:
            call()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            if not self._failed:
                self._failed = True
                first = str(error).strip().splitlines()[0]
                self._display.say(f"tracking: {self.uri} refused a write ({first}); the run goes on")


def prompt_name(recipe: Recipe) -> str:
    """The recipe's prompt in the registry. Models and prompts share one name space there."""
    return f"{recipe.name}-prompt"


def _absolute(uri: str) -> str:
    """A SQLite store by its absolute path: MLflow keeps stores open by URI, and the current folder may change."""
    return _SQLITE + str(Path(uri.removeprefix(_SQLITE)).resolve()) if uri.startswith(_SQLITE) else uri


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text[:6000]  # MLflow's limit for a parameter
