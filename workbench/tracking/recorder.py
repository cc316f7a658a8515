"""Where runs are recorded: one MLflow parent run per recipe run, one child per stage.

Owns every call to MLflow (with ``tracking_model.py``, which MLflow runs when it loads a logged bundle). Run ids are
kept in the run folder's state, so a continued run writes to the same MLflow runs. A store that fails, is locked or does
not answer costs a few seconds and one line: from then on what is to be recorded goes to the run folder's journal, and
the next command on the run records it first.
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
from workbench.run.folder import RunFolder, append_curve, read_curves, read_json
from workbench.tracking.journal import Caller, Entry, Journal
from workbench.tracking.log import log_bundle
from workbench.tracking.store import TrackingError, absolute, prepare_store, shown_uri, sqlite_path

_BATCH = 100  # what the tracking API takes in one call
PARENT = "parent"  # the key of a recipe run's own MLflow run; a step's is its folder
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


class StageRun:
    """One stage's child run; an ``optimizers.stage.Tracker`` that also moves the progress display."""

    def __init__(self, tracking: Tracking, step: dict[str, Any], curves: Path, display: Display) -> None:
        self._tracking = tracking
        self._run = str(step["folder"])
        self._step = step
        self._curves = curves
        self._display = display

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings; on a continued run equal ones are already there."""
        self._tracking.log_params(self._run, values)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, with a step as a curve; curves are also kept in the run folder, for the report."""
        self._display.metrics(values)
        if step is not None:
            append_curve(self._curves, step, values)
        self._tracking.log_metrics(self._run, values, step)

    def artifact(self, path: Path) -> None:
        """Log a file or a folder."""
        self._tracking.log_artifact(self._run, path)

    def prompt(self, role: str, text: str) -> None:
        """Register a prompt version, once for each role and text, and keep the text with the run."""
        self._tracking.register_prompt(self._run, self._step, role, text)

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Move the display."""
        self._display.progress(done, total, message)


class Tracking:
    """The runs of one recipe run. Use ``opened`` as a context; close comes with it.

    Runs are named by keys: ``run_id`` is the parent's, a step's is its folder. Which MLflow run a key stands for is
    looked up, and the run made, when the store is asked: so everything can be said while the store is away.
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
        self.run_id = PARENT

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
    def stage(self, step: dict[str, Any]) -> Iterator[StageRun]:
        """Begin or continue the child run of a step."""
        with self._working(step["folder"]):
            yield StageRun(self, step, self._folder.path / step["folder"] / "curves.jsonl", self._display)

    def dataset(self, side: str, rows: Sequence[Example], digest: str) -> None:
        """Record one side of the splits as a dataset of the parent run, once."""
        logged = self._state.setdefault("datasets", [])
        if side in logged:
            return
        source = self._recipe.data.path or f"https://huggingface.co/datasets/{self._recipe.data.hub}"
        columns = {"text": [row.text for row in rows], "label": [row.label for row in rows]}
        self._write({"op": "dataset", "side": side, "digest": digest, "source": source, "columns": columns})
        logged.append(side)
        self._folder.save()

    def log_params(self, run: str, values: Mapping[str, Any]) -> None:
        """Log parameters of a run. MLflow refuses to change one; on a continued run the first value stands."""
        self._write({"op": "params", "run": run, "values": {str(key): _text(one) for key, one in values.items()}})

    def log_metrics(self, run: str, values: Mapping[str, float], step: int | None = None) -> None:
        """Log finite numbers of a run."""
        now = int(time.time() * 1000)
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, (int, float))}
        points = [[key, value, now, step or 0] for key, value in numbers.items() if math.isfinite(value)]
        if points:
            self._write({"op": "metrics", "run": run, "points": points})

    def log_artifact(self, run: str, path: Path, under: str | None = None) -> None:
        """Log a file or a folder with a run."""
        self._write({"op": "artifact", "run": run, "path": str(path.absolute()), "under": under})

    def register_prompt(self, run: str, step: dict[str, Any], role: str, text: str) -> None:
        """Add a version to the recipe's prompt, unless this step registered the same text in this role."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        seen = step.setdefault("prompts", {})
        if seen.get(role, {}).get("digest") == digest:
            return
        tags = {"role": role, "stage": step["stage"], "digest": digest}
        self._write({"op": "prompt", "run": run, "text": text, "tags": tags, "message": f"{step['folder']}, {role}"})
        self._write({"op": "text", "run": run, "text": text, "file": f"prompts/{role}.txt"})
        seen[role] = {"digest": digest}
        self._folder.save()

    def comparison(self, table: Mapping[str, Sequence[Any]], report: Leaderboard, files: Sequence[Path]) -> None:
        """The leaderboard as a table, its numbers as metrics, the report's files and plots as artifacts."""
        # log_table appends to a table that is there: a later comparison gets a file of its own.
        number = self._state["comparisons"] = self._state.get("comparisons", 0) + 1
        name = "leaderboard.json" if number == 1 else f"leaderboard-{number}.json"
        columns = {key: list(values) for key, values in table.items()}
        self._write({"op": "table", "run": PARENT, "columns": columns, "file": name})
        steps = {step["folder"] for step in self._folder.steps}
        for entry in report.candidates:
            values = {f"test.{key}": one.value for key, one in entry.test.items()}
            # The store takes no "+" and no "@" in a metric's name.
            name = entry.name.replace("+", "-").replace("@", ":")
            self.log_metrics(PARENT, {f"{key}/{name}": value for key, value in values.items()})
            if entry.step and entry.step in steps:
                self.log_metrics(entry.step, values)
        for path in files:
            self.log_artifact(PARENT, path, path.name if path.is_dir() else None)
        self._folder.save()

    def candidate(self, candidate: Candidate, folders: Sequence[Path]) -> None:
        """A child run for a candidate that is no step of the run: what it is, what it costs, how its stages went.

        Parameters
        ----------
        folders : sequence of Path
            Of the stages behind it, in order, as ``workbench.run.pipeline`` leaves them.
        """
        known = self._state.setdefault("candidates", {})
        if candidate.step is not None or candidate.failed or known.get(candidate.name) == candidate.folder:
            return
        key = f"candidate {candidate.name} {candidate.folder}"
        self._write(
            {
                "op": "run",
                "run": key,
                "name": candidate.name,
                "tags": {"candidate": candidate.name, "kind": candidate.kind},
            }
        )
        self.log_params(key, {"about": candidate.about, "calibration": candidate.calibration.get("variant", "none")})
        self.log_metrics(key, {f"cost.{name}": one for name, one in candidate.cost.items() if one is not None})
        for number, folder in enumerate(folders):
            self._log_step(key, folder, last=number == len(folders) - 1)
        self._write({"op": "status", "run": key, "status": "FINISHED"})
        known[candidate.name] = candidate.folder
        self._folder.save()

    def _log_step(self, run: str, folder: Path, last: bool) -> None:
        """A stage's settings, its prompts, and, of the last one, its curves."""
        stage = folder.name.partition("-")[0]
        settings = folder / "params.json"
        if settings.is_file():
            self.log_params(run, {f"{stage}.{key}": value for key, value in read_json(settings).items()})
        for prompt in sorted(folder.glob("prompt-*.txt")):
            self.log_artifact(run, prompt, f"prompts/{stage}")
        for name, values in read_curves(folder / "curves.jsonl").items() if last else ():
            now = int(time.time() * 1000)
            points = [[name, value, now, step] for step, value in values if math.isfinite(value)]
            self._write({"op": "metrics", "run": run, "points": points})

    def model(self, bundle: Path, example_texts: Sequence[str]) -> str | None:
        """Log the bundle as a model that ``mlflow models serve`` loads; register it under the recipe's name.

        Returns
        -------
        str or None
            ``models:/name/version``; None where the store did not take it.
        """
        uri = self._write({"op": "model", "path": str(bundle.absolute()), "texts": list(example_texts)})
        return None if uri is None else str(uri)

    # What is said of the store, and to it.

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._folder.state.setdefault("mlflow", {})
        return state

    @contextmanager
    def _working(self, run: str) -> Iterator[None]:
        """A run's status, and what the machine does meanwhile."""
        self._write({"op": "status", "run": run, "status": "RUNNING"}, keep=False)
        monitor = None
        if self._recipe.tracking.system_metrics and not self._away:
            monitor = self._write({"op": "watch", "run": run}, keep=False)
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        finally:
            if monitor is not None and not self._away:
                self._ask(monitor.finish, WAIT_S)
            self._write({"op": "status", "run": run, "status": status})

    def _write(self, entry: Entry, keep: bool = True) -> Any:
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
        left = self._journal.entries()
        n_entries, n_refused = len(left), 0
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
            for step in self._folder.steps:
                step.pop("mlflow_run_id", None)
            if state.get("run_id"):
                # What another store, or a run that is gone, was told is not known here.
                for known in ("datasets", "candidates", "comparisons"):
                    state.pop(known, None)
            tags = {"recipe": str(self._recipe.path), "folder": str(self._folder.path)}
            name = f"{self._recipe.name}-{self._folder.path.name}"
            run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
            state.update({"uri": self.uri, "experiment_id": experiment, "run_id": run_id, "candidate_runs": {}})
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
        """The MLflow run behind a key, made where there is none; None for a step that was dropped since."""
        state = self._state
        if key == PARENT:
            return str(state["run_id"])
        step = next((step for step in self._folder.steps if step["folder"] == key), None)
        place = step if step is not None else state.setdefault("candidate_runs", {})
        where = "mlflow_run_id" if step is not None else key
        if step is None and where not in place and tags is None:
            return None
        if where not in place:
            tags = {"stage": step["stage"]} if step is not None else dict(tags or {})
            tags["mlflow.parentRunId"] = state["run_id"]
            made = self._client.create_run(state["experiment_id"], run_name=name or key, tags=tags)
            place[where] = made.info.run_id
            self._save()
        return str(place[where])

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


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text[:6000]  # MLflow's limit for a parameter
