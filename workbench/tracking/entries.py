"""What there is to record, as plain entries; and the tracker of a step, which makes them wherever the step runs.

An entry is a dict that JSON holds: ``op`` says what it is, ``run`` whose run it belongs to. A step in this process
hands its entries to the recorder, a step in a candidate's process to its parent, and a store that is away leaves them
in the run's journal: the same entries all three ways.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labelwright.bundle.store import load
from labelwright.files import read_json, write_json
from workbench.run.folder import append_curve
from workbench.run.steps import Step, settings_of
from workbench.tracking.journal import Entry

Write = Callable[[Entry], Any]
Progress = Callable[[int, int, str], None]
# The run of the whole recipe run; every other key is a step's or a candidate's.
PARENT = "parent"


def run(key: str, name: str, tags: Mapping[str, str]) -> Entry:
    """A child run that is to be there, under a name that people read."""
    return {"op": "run", "run": key, "name": name, "tags": dict(tags)}


def status(key: str, value: str) -> Entry:
    """What a run is doing: RUNNING, FINISHED or FAILED."""
    return {"op": "status", "run": key, "status": value}


def params(key: str, values: Mapping[str, Any]) -> Entry:
    """Settings. The store refuses to change one; on a continued run the first value stands."""
    return {"op": "params", "run": key, "values": {str(name): _text(one) for name, one in values.items()}}


def metrics(key: str, values: Mapping[str, float], step: int | None = None) -> list[Entry]:
    """Finite numbers; none where there are none."""
    now = int(time.time() * 1000)
    numbers = {name: float(one) for name, one in values.items() if isinstance(one, (int, float))}
    points = [[name, one, now, step or 0] for name, one in numbers.items() if math.isfinite(one)]
    return [{"op": "metrics", "run": key, "points": points}] if points else []


def artifact(key: str, path: Path, under: str | None = None) -> Entry:
    """A file or a folder."""
    return {"op": "artifact", "run": key, "path": str(path.absolute()), "under": under}


def kept_step(step: Step) -> list[Entry]:
    """A step that was run before, for another run or another comparison: what it is, and what came out."""
    told = [run(step.key, step.name, {"stage": step.stage.name, "kept": "true"})]
    if step.is_done:
        dev = {f"dev.{name}": one for name, one in load(step.bundle).report.items()}
        cost = {name: one for name, one in step.cost._asdict().items() if one is not None}
        told += [params(step.key, settings_of(step.stage)), *metrics(step.key, {**dev, **cost})]
    return [*told, status(step.key, "FINISHED")]


class StepTracker:
    """An ``optimizers.stage.Tracker``: entries for the store, curves for the report, progress for who waits.

    Parameters
    ----------
    write : callable
        Takes entries as they come.
    live : callable, optional
        Takes the numbers that a person may want to see move.
    """

    def __init__(
        self, step: Step, write: Write, progress: Progress, live: Callable[[Mapping[str, float]], None] | None = None
    ) -> None:
        self._step = step
        self._write = write
        self._progress = progress
        self._live = live

    def begin(self) -> None:
        """Say what the step is."""
        self._write(run(self._step.key, self._step.name, {"stage": self._step.stage.name}))

    def params(self, values: Mapping[str, Any]) -> None:
        """Settings, and what else stood fixed while the stage ran."""
        self._write(params(self._step.key, values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Numbers, with a step as a curve; curves are also kept in the step's folder, for the report."""
        if self._live:
            self._live(values)
        if step is not None:
            append_curve(self._step.curves, step, values)
        for entry in metrics(self._step.key, values, step):
            self._write(entry)

    def artifact(self, path: Path) -> None:
        """A file or a folder."""
        self._write(artifact(self._step.key, path))

    def prompt(self, role: str, text: str) -> None:
        """A prompt version, once for each role and text, and the text with the run."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        place = self._step.folder / "prompts.json"
        seen = read_json(place) if place.is_file() else {}
        if seen.get(role) == digest:
            return
        tags = {"role": role, "stage": self._step.stage.name, "digest": digest}
        about = {"text": text, "tags": tags, "message": f"{self._step.name}, {role}"}
        self._write({"op": "prompt", "run": self._step.key, **about})
        self._write({"op": "text", "run": self._step.key, "text": text, "file": f"prompts/{role}.txt"})
        write_json(place, {**seen, role: digest})

    def progress(self, done: int, total: int, message: str = "") -> None:
        """How far the stage is."""
        self._progress(done, total, message)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text[:6000]  # MLflow's limit for a parameter
