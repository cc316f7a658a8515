"""What there is to record, as plain entries; and the tracker of a step, which makes them wherever the step runs.

An entry is a dict that JSON holds: ``op`` says what it is, ``run`` whose run it belongs to. A step in this process
hands its entries to the recorder, a step in a candidate's process to its parent, and both lie in the run's journal
until the store takes them: the same entries all three ways.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwright.bundle.files import bundle_identity
from labelwright.bundle.store import load
from labelwright.files import read_json, write_json
from labelwright.models.weights import is_language_model
from labelwright.statistics.intervals import Interval
from workbench.compare.board import Entry as Measured
from workbench.run.folder import append_curve
from workbench.run.steps import Step, settings_of
from workbench.tracking.journal import Entry
from workbench.tracking.succession import amounts, bits
from workbench.wording import parts, percent

Write = Callable[[Entry], Any]
Progress = Callable[[int, int, str], None]
# Of every test row: its id, whether a bundle was right on it, its group, and with prices what its answer cost.
Rows = Sequence[tuple[str, bool, str | None, float | None]]
# The run of the whole recipe run; every other key is a step's or a candidate's.
PARENT = "parent"


def run(key: str, name: str, tags: Mapping[str, str]) -> Entry:
    """A child run that is to be there, under a name that people read."""
    return {"op": "run", "run": key, "name": name, "tags": dict(tags), "at_ms": _now_ms()}


def status(key: str, value: str) -> Entry:
    """What a run is doing: RUNNING, FINISHED or FAILED."""
    return {"op": "status", "run": key, "status": value, "at_ms": _now_ms()}


def params(key: str, values: Mapping[str, Any]) -> Entry:
    """Settings. The store refuses to change one; on a continued run the first value stands."""
    return {"op": "params", "run": key, "values": {str(name): _text(one) for name, one in values.items()}}


def metrics(key: str, values: Mapping[str, float], step: int | None = None) -> list[Entry]:
    """Finite numbers; none where there are none."""
    now = _now_ms()
    numbers = {name: float(one) for name, one in values.items() if isinstance(one, (int, float))}
    points = [[name, one, now, step or 0] for name, one in numbers.items() if math.isfinite(one)]
    return [{"op": "metrics", "run": key, "points": points}] if points else []


def artifact(key: str, path: Path, under: str | None = None) -> Entry:
    """A file or a folder."""
    return {"op": "artifact", "run": key, "path": str(path.absolute()), "under": under}


def tags(key: str, values: Mapping[str, str]) -> Entry:
    """Short texts beside a run, each a column of the experiment's table; a later value replaces an earlier one."""
    return {"op": "tags", "run": key, "values": dict(values)}


def note(key: str, text: str) -> Entry:
    """A run's description, as Markdown in which every text of other people is escaped."""
    return {"op": "note", "run": key, "text": text}


def prompt(key: str, text: str, role: str, stage: str, name: str, alias: str = "") -> Entry:
    """A version of the recipe's prompt, linked to a run; ``alias`` names it from now on."""
    about = {"role": role, "stage": stage, "digest": digest_of(text)}
    return {"op": "prompt", "run": key, "text": text, "tags": about, "message": f"{name}, {role}", "alias": alias}


def overview(text: str = "", best: str = "") -> Entry:
    """The experiment's description, and the columns with which it opens.

    Parameters
    ----------
    text : str
        Markdown; where there is none, a description that is there stays.
    best : str
        The key of the best candidate's run.
    """
    return {"op": "overview", "run": PARENT, "text": text, "best": best}


def dataset_name(recipe: str, side: str) -> str:
    """What one side of the splits is called in the store."""
    return f"{recipe}.{side}"


def scores_on_test(measured: Measured) -> dict[str, Interval]:
    """The metrics on test, and where there are prices what a row costs."""
    return dict(measured.test) | ({"cost": measured.priced["cost"]} if measured.priced else {})


def interval_of(measured: Measured) -> str:
    """What it is ranked by, with its interval: accuracy in percent, or what a row costs."""
    return (
        " ".join(parts(measured.priced["cost"], is_share=False))
        if measured.priced
        else percent(measured.test["accuracy"])
    )


def numbers_of(measured: Measured, test: tuple[str, str]) -> dict[str, Any]:
    """A candidate's numbers: those on test, with that dataset's name and digest, and its costs."""
    now = _now_ms()
    on_test: dict[str, float] = {}
    for name, one in scores_on_test(measured).items():
        on_test[f"test.{name}"] = one.value
        if name in ("accuracy", "cost"):
            on_test |= {f"test.{name}.low": one.low, f"test.{name}.high": one.high}
    costs = {name: measured.cost.get(name) for name in ("ms_p50", "size_bytes", "seconds_to_train")}
    return {
        "dataset": list(test),
        "test": [[name, one, now, 0] for name, one in on_test.items() if math.isfinite(one)],
        "costs": [[f"cost.{name}", one, now, 0] for name, one in costs.items() if one is not None],
    }


def candidate(key: str, measured: Measured, test: tuple[str, str]) -> Entry:
    """A candidate as a model with its numbers."""
    about = {"kind": measured.kind, "what it is": measured.about, "against the best": measured.standing or ""}
    params = {name: _text(one) for name, one in about.items()}
    numbers = numbers_of(measured, test)
    return {"op": "candidate", "run": key, "name": measured.name, "params": params, "numbers": numbers}


def model(
    bundle: Path, texts: Sequence[str], measured: Measured | None, test: tuple[str, str], rows: Rows, of: str = ""
) -> Entry:
    """The exported bundle, to be registered, with what is known of it on test; ``of`` is its candidate's run."""
    shown = load(bundle)
    entry: Entry = {"op": "model", "path": str(bundle.absolute()), "texts": list(texts)}
    entry["identity"] = bundle_identity(bundle)
    if is_language_model(shown.weights):
        entry["prompt"] = digest_of(shown.prompt.shown)
    if measured is not None:
        groups = [group for _, _, group, _ in rows]
        entry |= {
            "candidate": measured.name,
            "of": of,
            "numbers": numbers_of(measured, test),
            "test_rows": digest_of("\n".join(name for name, *_ in rows)),
            "right": bits([right for _, right, *_ in rows]),
            "groups": None if None in groups else groups,
        }
    if (prices := shown.task.costs) is not None:
        names = sorted(shown.task.names)
        told = json.dumps([names, prices.table(names), prices.abstain])
        entry |= {"prices": digest_of(told), "span": repr(shown.decision.span)}
        costs = [cost for *_, cost in rows if cost is not None]
        if rows and len(costs) == len(rows):
            entry["costs"] = amounts(costs)
    return entry


def digest_of(text: str) -> str:
    """What tells one prompt from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """A table that MLflow shows as one."""
        values = {key: list(column) for key, column in columns.items()}
        self._write({"op": "table", "run": self._step.key, "columns": values, "file": f"{name}.json"})

    def prompt(self, role: str, text: str) -> None:
        """A prompt version, once for each role and text, and the text with the run."""
        digest = digest_of(text)
        place = self._step.folder / "prompts.json"
        seen = read_json(place) if place.is_file() else {}
        if seen.get(role) == digest:
            return
        self._write(prompt(self._step.key, text, role, self._step.stage.name, self._step.name))
        self._write({"op": "text", "run": self._step.key, "text": text, "file": f"prompts/{role}.txt"})
        write_json(place, {**seen, role: digest})

    def progress(self, done: int, total: int, message: str = "") -> None:
        """How far the stage is."""
        self._progress(done, total, message)


def _now_ms() -> int:
    """Now, since an entry may be delivered much later."""
    return int(time.time() * 1000)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text[:6000]  # MLflow's limit for a parameter
