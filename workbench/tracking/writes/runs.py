"""Runs and what hangs on them: status, the machine's load, settings, numbers, files, tables."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from workbench.tracking.journal import Entry
from workbench.tracking.writes.opened_store import OpenedStore

_BATCH = 100  # what the tracking API takes in one call


def run(store: OpenedStore, entry: Entry) -> None:
    """A child run that is to be there."""
    store.run_id(entry["run"], entry["name"], entry["tags"], entry.get("at_ms"))


def status(store: OpenedStore, entry: Entry) -> None:
    """What a run is doing."""
    if run_id := store.run_id(entry["run"]):
        if entry["status"] == "RUNNING":
            store.client.update_run(run_id, status="RUNNING")
        else:
            store.client.set_terminated(run_id, entry["status"], entry.get("at_ms"))


def watch(store: OpenedStore, entry: Entry) -> None:
    """Record the machine's load along a run, from a thread of MLflow's own, unless the run is over by now."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    if not entry["over"].is_set() and (run_id := store.run_id(entry["run"])):
        monitor = store.monitors[entry["run"]] = SystemMetricsMonitor(
            run_id, resume_logging=True, tracking_uri=store.uri
        )
        monitor.start()


def unwatch(store: OpenedStore, entry: Entry) -> None:
    """Record the load along a run no longer."""
    if monitor := store.monitors.pop(entry["run"], None):
        monitor.finish()


def params(store: OpenedStore, entry: Entry) -> None:
    """Settings; of one that is there already the first value stands."""
    if run_id := store.run_id(entry["run"]):
        have = store.client.get_run(run_id).data.params
        new = [Param(key, value) for key, value in entry["values"].items() if key not in have]
        for start in range(0, len(new), _BATCH):
            store.client.log_batch(run_id, params=new[start : start + _BATCH])


def metrics(store: OpenedStore, entry: Entry) -> None:
    """Numbers."""
    if run_id := store.run_id(entry["run"]):
        points = [Metric(*point) for point in entry["points"]]
        for start in range(0, len(points), _BATCH):
            store.client.log_batch(run_id, metrics=points[start : start + _BATCH])


def tags(store: OpenedStore, entry: Entry) -> None:
    """Short texts."""
    if run_id := store.run_id(entry["run"]):
        store.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in entry["values"].items()])


def artifact(store: OpenedStore, entry: Entry) -> None:
    """A file or a folder; what was replaced since, or is at the moment, is recorded by who replaces it."""
    path = Path(entry["path"])
    if (run_id := store.run_id(entry["run"])) and path.exists():
        log = store.client.log_artifacts if path.is_dir() else store.client.log_artifact
        with suppress(FileNotFoundError):
            log(run_id, str(path), entry["under"])


def text(store: OpenedStore, entry: Entry) -> None:
    """A text as a file."""
    if run_id := store.run_id(entry["run"]):
        store.client.log_text(run_id, entry["text"], entry["file"])


def table(store: OpenedStore, entry: Entry) -> None:
    """Columns as a file that MLflow shows as a table.

    ``client.log_table`` adds to a table that is there, so that one written twice would have every row twice.
    """
    if run_id := store.run_id(entry["run"]):
        rows = list(zip(*entry["columns"].values(), strict=True))
        store.client.log_dict(run_id, {"columns": list(entry["columns"]), "data": rows}, entry["file"])
        known = json.loads(store.client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
        this = {"path": entry["file"], "type": "table"}
        if this not in known:
            store.client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*known, this]))
