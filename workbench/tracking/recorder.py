"""Where runs are recorded: one MLflow parent run per recipe run, one child per step or candidate, live.

Owns every call to MLflow (with ``model.py``, which MLflow runs when it loads a logged bundle). Run ids are
kept in the run folder's state, so a continued run writes to the same MLflow runs. A store that fails, is locked or does
not answer costs a few seconds and one line: from then on what is to be recorded goes to the run folder's journal, and
the next command on the run records it first.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

# Set before MLflow is imported: it reads them then.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")

import mlflow
import mlflow.data.pandas_dataset
import pandas as pd
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException

from labelwright.data.task import Example
from workbench.compare.board import Leaderboard
from workbench.compare.candidate import Candidate
from workbench.progress import Display
from workbench.recipe.recipe import Recipe
from workbench.run.folder import RUNS, RunFolder
from workbench.run.steps import Step
from workbench.tracking import entries
from workbench.tracking.entries import PARENT, StepTracker
from workbench.tracking.journal import Caller, Entry, Journal
from workbench.tracking.log import log_bundle
from workbench.tracking.store import TrackingError, absolute, prepare_store, shown_uri, sqlite_path

_BATCH = 100  # what the tracking API takes in one call
# Seconds for a call to the store, for opening it (which imports half of MLflow), and for a model beside its bytes.
WAIT_S, OPEN_S, MODEL_S = 10.0, 30.0, 60.0
_BYTES_PER_S = 5e6
# Refused for what they say: asking again changes nothing.
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")


def quiet() -> None:
    """Keep MLflow's and the database migration's chatter off the console, tracebacks of what is told here included."""
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"mlflow\.")


class Tracking:
    """The runs of one recipe run. Use ``opened`` as a context; close comes with it.

    Runs are named by keys: ``PARENT``, or a step's. Which MLflow run a key stands for is looked up, and the run made,
    when the store is asked: so everything can be said while the store is away.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, display: Display) -> None:
        self._recipe = recipe
        self._folder = folder
        self._display = display
        self._caller = Caller()
        self._journal = Journal(folder.path / "tracking.jsonl")
        self._away = False
        self._told = False
        quiet()
        self._uri = absolute(recipe.tracking.resolved_uri())
        self.uri = shown_uri(self._uri)

    @contextmanager
    def opened(self) -> Iterator[Tracking]:
        """Begin or continue the parent run, recording first what an earlier command could not."""
        try:
            prepare_store(self._uri)
            self._caller.call(self._open, OPEN_S)
        except Exception as error:
            self._lose(error)
        else:
            self._catch_up()
        with self._working(PARENT):
            yield self
        if self._away and not self._caller.stuck:
            self._catch_up()

    @contextmanager
    def step(self, step: Step) -> Iterator[StepTracker]:
        """The child run of a step that runs in this process."""
        tracker = StepTracker(step, self.write, self._display.progress, self._display.metrics)
        tracker.begin()
        with self._working(step.key):
            yield tracker

    def kept(self, step: Step) -> None:
        """The child run of a step that an earlier run, or a comparison, has done; once."""
        told = self._state.setdefault("kept", [])
        if step.key not in told:
            # Run by this run, of which a kill left the record open; or by another, and not known here.
            is_known = step.key in self._state.get("runs", {})
            for entry in [entries.status(step.key, "FINISHED")] if is_known else entries.kept_step(step):
                self.write(entry)
            told.append(step.key)
            self._folder.save()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """What the whole run stands on: its settings, its recipe and its splits."""
        self.write(entries.params(PARENT, settings))
        for name in ("recipe.toml", "splits.json"):
            self.write(entries.artifact(PARENT, self._folder.path / name))

    def dataset(self, side: str, rows: Sequence[Example], digest: str) -> None:
        """Record one side of the splits as a dataset of the parent run, once."""
        logged = self._state.setdefault("datasets", [])
        if side in logged:
            return
        source = self._recipe.data.path or f"https://huggingface.co/datasets/{self._recipe.data.hub}"
        columns = {"text": [row.text for row in rows], "label": [row.label for row in rows]}
        self.write({"op": "dataset", "side": side, "digest": digest, "source": source, "columns": columns})
        logged.append(side)
        self._folder.save()

    def comparison(self, table: Mapping[str, Sequence[Any]], report: Leaderboard, files: Sequence[Path]) -> None:
        """The leaderboard as a table, its numbers as metrics, the report's files and plots as artifacts."""
        # log_table appends to a table that is there: a later comparison gets a file of its own.
        number = self._state["comparisons"] = self._state.get("comparisons", 0) + 1
        name = "leaderboard.json" if number == 1 else f"leaderboard-{number}.json"
        columns = {key: list(values) for key, values in table.items()}
        self.write({"op": "table", "run": PARENT, "columns": columns, "file": name})
        for candidate in report.candidates:
            # The store takes no "+" and no "@" in a metric's name.
            told = candidate.name.replace("+", "-").replace("@", ":")
            values = {f"test.{key}/{told}": one.value for key, one in candidate.test.items()}
            for entry in entries.metrics(PARENT, values):
                self.write(entry)
        for path in files:
            self.write(entries.artifact(PARENT, path, path.name if path.is_dir() else None))
        self._folder.save()

    def candidate(self, candidate: Candidate, test: Mapping[str, float], step: Step | None) -> None:
        """What a candidate is, what it costs and how it does on test: with its last step's run, or on one of its own.

        Parameters
        ----------
        step : Step, optional
            The last stage behind it; None for what no stage tuned.
        """
        key = step.key if step else f"candidate {candidate.name}"
        tags = {"candidate": candidate.name, "kind": candidate.kind}
        if step:
            self.kept(step)
        else:
            self.write(entries.run(key, candidate.name, tags))
            self.write(entries.params(key, {"about": candidate.about}))
        costs = {f"cost.{name}": one for name, one in candidate.cost.items() if one is not None}
        for entry in entries.metrics(key, {**costs, **{f"test.{name}": one for name, one in test.items()}}):
            self.write(entry)
        self.write(entries.status(key, "FINISHED"))

    def model(self, bundle: Path, example_texts: Sequence[str]) -> str | None:
        """Log the bundle as a model that ``mlflow models serve`` loads; register it under the recipe's name.

        Returns
        -------
        str or None
            ``models:/name/version``; None where the store did not take it.
        """
        uri = self.write({"op": "model", "path": str(bundle.absolute()), "texts": list(example_texts)})
        return None if uri is None else str(uri)

    # What is said of the store, and to it.

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._folder.state.setdefault("mlflow", {})
        return state

    @contextmanager
    def _working(self, run: str) -> Iterator[None]:
        """A run's status, and what the machine does meanwhile."""
        self.write(entries.status(run, "RUNNING"), keep=False)
        monitor = None
        if self._recipe.tracking.system_metrics and not self._away:
            monitor = self.write({"op": "watch", "run": run}, keep=False)
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        finally:
            if monitor is not None and not self._away:
                self._ask(monitor.finish, WAIT_S)
            self.write(entries.status(run, status))

    def write(self, entry: Entry, keep: bool = True) -> Any:
        """Have an entry recorded, or keep it for later; returns what the store gave back."""
        if not self._away:
            try:
                return self._caller.call(partial(self._do, entry), self._patience(entry))
            except Exception as error:
                if _is_refusal(error):
                    self._tell(error, "is left out")
                    return None
                self._lose(error)
        if keep:
            with suppress(OSError):  # a disk so full that nothing is recorded has been told already
                self._journal.add(entry)
        return None

    def _ask(self, function: Callable[[], Any], within_s: float) -> None:
        try:
            self._caller.call(function, within_s)
        except Exception as error:
            self._lose(error)

    def _catch_up(self) -> None:
        """Record what is in the journal, in order, as far as the store takes it."""
        # A run folder may be a stranger's: of the files that its journal names only those of runs are recorded.
        found = self._journal.entries()
        left = [entry for entry in found if "path" not in entry or self._is_of_runs(Path(entry["path"]))]
        n_entries, n_refused = len(found), len(found) - len(left)
        self._away = False
        while left:
            try:
                self._caller.call(partial(self._do, left[0]), self._patience(left[0]))
            except Exception as error:
                if not _is_refusal(error):
                    self._lose(error)
                    break
                n_refused += 1
            del left[0]
        if n_entries:
            with suppress(OSError):
                self._journal.keep(left)
            if not left:
                refused = f", and {n_refused} that it refuses are left out" if n_refused else ""
                n_taken = n_entries - n_refused
                self._display.say(f"tracking: {n_taken} records that {self.uri} had not taken are there now{refused}")

    def _is_of_runs(self, path: Path) -> bool:
        places = (self._folder.path, RUNS / self._recipe.name)
        return any(path.resolve().is_relative_to(place.resolve()) for place in places)

    def _lose(self, error: Exception) -> None:
        self._away = True
        self._tell(error, "the work goes on, and what is not recorded now is by the next command on this run")

    def _tell(self, error: Exception, remedy: str) -> None:
        """The first failure, in one line."""
        if not self._told:
            self._told = True
            first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            where = "" if isinstance(error, TrackingError) else f"{self.uri} failed: "
            self._display.say(f"tracking: {where}{shown_uri(first)[:300]}; {remedy}")

    def _patience(self, entry: Entry) -> float:
        """Seconds that an entry may take."""
        if entry["op"] not in ("artifact", "model"):
            return WAIT_S
        path = Path(entry["path"])
        files = path.rglob("*") if path.is_dir() else [path]
        n_bytes = sum(one.stat().st_size for one in files if one.is_file())
        return (MODEL_S if entry["op"] == "model" else WAIT_S) + n_bytes / _BYTES_PER_S

    # All below runs in the caller's thread.

    def _open(self) -> None:
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        self._client = mlflow.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        experiment = self._experiment_id()
        state = self._state
        if state.get("uri") != self.uri or not self._exists(state.get("run_id")):
            # What another store, or a run that is gone, was told is not known here.
            for known in ("datasets", "comparisons", "kept") if state.get("run_id") else ():
                state.pop(known, None)
            tags = {"recipe": str(self._recipe.path), "folder": str(self._folder.path)}
            name = f"{self._recipe.name}-{self._folder.path.name}"
            run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
            state.update({"uri": self.uri, "experiment_id": experiment, "run_id": run_id, "runs": {}})
            self._save()
        # A run can only be entered under its own experiment, whatever was active before.
        mlflow.set_experiment(experiment_id=self._client.get_run(state["run_id"]).info.experiment_id)

    def _save(self) -> None:
        if self._caller.stuck:
            raise TimeoutError("nobody waits for this call any more, and the state is written by others")
        self._folder.save()

    def _do(self, entry: Entry) -> Any:
        """Write one entry."""
        op = entry["op"]
        if op == "run":
            return self._run_id(entry["run"], entry["name"], entry["tags"])
        if op == "dataset":
            return self._do_dataset(entry)
        if op == "model":
            return self._do_model(entry)
        run_id = self._run_id(entry["run"])
        if run_id is None:
            return None
        if op == "status":
            if entry["status"] == "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
            else:
                self._client.set_terminated(run_id, entry["status"])
        elif op == "watch":
            return _watch(run_id, self._uri)
        elif op == "params":
            have = self._client.get_run(run_id).data.params
            params = [Param(key, value) for key, value in entry["values"].items() if key not in have]
            for start in range(0, len(params), _BATCH):
                self._client.log_batch(run_id, params=params[start : start + _BATCH])
        elif op == "metrics":
            metrics = [Metric(*point) for point in entry["points"]]
            for start in range(0, len(metrics), _BATCH):
                self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
        elif op == "artifact":
            path = Path(entry["path"])
            if path.exists():  # what was replaced since is recorded by who replaced it
                log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
                log(run_id, str(path), entry["under"])
        elif op == "text":
            self._client.log_text(run_id, entry["text"], entry["file"])
        elif op == "table":
            self._client.log_table(run_id, entry["columns"], entry["file"])
        elif op == "prompt":
            mlflow.genai.register_prompt(
                name=prompt_name(self._recipe),
                template=entry["text"],
                commit_message=entry["message"],
                tags={**entry["tags"], "run_id": run_id},
            )
        return None

    def _do_dataset(self, entry: Entry) -> None:
        dataset = mlflow.data.pandas_dataset.from_pandas(
            pd.DataFrame(entry["columns"]), source=entry["source"], targets="label",
            name=f"{self._recipe.name}.{entry['side']}", digest=entry["digest"],
        )  # fmt: skip
        context = [InputTag("mlflow.data.context", entry["side"])]
        self._client.log_inputs(self._state["run_id"], [DatasetInput(dataset._to_mlflow_entity(), context)])

    def _do_model(self, entry: Entry) -> str | None:
        bundle, run_id = Path(entry["path"]), self._state["run_id"]
        if not bundle.is_dir():
            return None
        with mlflow.start_run(run_id=run_id, log_system_metrics=False):
            version = log_bundle(self._recipe.name, bundle, entry["texts"])
        # Leaving the run has ended it, and it goes on.
        self._client.update_run(run_id, status="RUNNING")
        uri = f"models:/{self._recipe.name}/{version}"
        exported = self._folder.state.get("export")
        if exported and not exported.get("model_uri"):
            exported["model_uri"] = uri
            self._save()
        return uri

    def _run_id(self, key: str, name: str = "", tags: Mapping[str, str] | None = None) -> str | None:
        """The MLflow run behind a key, made where an entry names it; else None."""
        state = self._state
        if key == PARENT:
            return str(state["run_id"])
        known = state.setdefault("runs", {})
        if key not in known:
            if tags is None:
                return None
            tags = {**tags, "mlflow.parentRunId": state["run_id"]}
            known[key] = self._client.create_run(state["experiment_id"], run_name=name, tags=tags).info.run_id
            self._save()
        return str(known[key])

    def _experiment_id(self) -> str:
        name = self._recipe.tracking.experiment or self._recipe.name
        store = sqlite_path(self._uri)
        artifacts = (store.parent / "mlartifacts").as_uri() if store else None
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise TrackingError(f"experiment {name!r} was deleted; restore it, or set another in [tracking]")
        return str(experiment.experiment_id if experiment else self._client.create_experiment(name, artifacts))

    def _exists(self, run_id: str | None) -> bool:
        try:
            return run_id is not None and self._client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise


def _watch(run_id: str, uri: str) -> Any:
    """Record the machine's load along a run, from a thread of MLflow's own."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri)
    monitor.start()
    return monitor


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


def prompt_name(recipe: Recipe) -> str:
    """The recipe's prompt in the registry. Models and prompts share one name space there."""
    return f"{recipe.name}-prompt"
