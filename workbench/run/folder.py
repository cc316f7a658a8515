"""The run folder: what is in it, which steps are done, and who is working on it.

Layout, under ``runs/NAME/<stamp>/``: ``recipe.toml``, ``splits.json``, ``state.json``, a link a step (``0-untuned``,
``1-gepa``, …) to the folder under ``runs/NAME/steps`` where it is kept with its ``bundle``, the report's files,
``review`` with what people are asked and, after export, ``bundle``. Every file is written to a temporary name and
renamed, so that a killed process leaves either the old file or the new one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from labelwright.errors import LabelwrightError, RecipeError
from labelwright.files import read_json, sha256_of_file, write_json, write_text

# Where recipes' runs are; and beside the runs of a recipe, which share them, its steps, the comparison's results,
# scores of rows that were asked before, and answers of larger models.
RUNS = Path("runs")
STEPS, CANDIDATES, SCORES, ANSWERS = "steps", "candidates", "scores", "answers"
# What a comparison writes for people and for the export.
REPORT_FILES = ("report.json", "report.md", "report.html", "rows.jsonl")
# The rows that people are asked about; beside it lies what they answered.
ASKED = "review/asked.json"

_STAMP = re.compile(r"\d{8}-\d{6}(-\d+)?")


class RunBusyError(LabelwrightError, RuntimeError):
    """Another process works on the same run."""


def append_curve(path: Path, step: int, values: Mapping[str, float]) -> None:
    """Add one line of numbers at a step; a torn last line, from a kill, is skipped when read."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **{key: float(value) for key, value in values.items()}}) + "\n")


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Every metric as (step, value) pairs in step order; where a continued run repeats a step, the later value."""
    curves: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        step = values.pop("step")
        for key, value in values.items():
            curves.setdefault(key, {})[step] = value
    return {key: sorted(points.items()) for key, points in curves.items()}


class RunFolder:
    """One run on disk. ``state`` is what ``state.json`` holds; ``save`` writes it.

    ``state["steps"]`` is a list of records in the order in which they were begun, each with ``folder``, ``stage``,
    ``settings``, ``key`` (of the step, as ``workbench.run.steps`` names it), ``done`` and what it cost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state: dict[str, Any] = read_json(path / "state.json")
        # A run folder may be a stranger's: what its records name is a folder in it, and nothing further away.
        for step in self.steps:
            names = (step["folder"], step.get("key", "0-0"))
            if not all(isinstance(name, str) and re.fullmatch(r"[\w-]+", name) for name in names):
                raise RecipeError(f"{path / 'state.json'}: {names} name no step; the file was changed by hand")

    @classmethod
    def create(
        cls, parent: Path, recipe_text: str, splits_document: Mapping[str, Any], state: Mapping[str, Any]
    ) -> RunFolder:
        """Make a new run folder; ``state.json`` comes last and makes it count."""
        parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        for number in range(1, 1000):
            path = parent / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                path.mkdir()
                break
            except FileExistsError:
                continue
        write_text(path / "recipe.toml", recipe_text)
        write_json(path / "splits.json", splits_document)
        write_json(path / "state.json", {"steps": [], **state})
        return cls(path)

    def _hashes(self, names: Iterable[str]) -> dict[str, str]:
        """Of these files, by name; empty for one that is not there."""
        return {name: sha256_of_file(self.path / name) if (self.path / name).is_file() else "" for name in names}

    def save(self) -> None:
        """Write ``state.json``."""
        write_json(self.path / "state.json", self.state)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Records of the steps begun, done or not."""
        steps: list[dict[str, Any]] = self.state["steps"]
        return steps

    @property
    def is_older(self) -> bool:
        """Whether an earlier edition made the run, which kept its steps in itself under no key."""
        return any("key" not in step for step in self.steps)

    def done_steps(self) -> list[dict[str, Any]]:
        """Records of the finished steps."""
        return [step for step in self.steps if step["done"]]

    def unfinished_step(self) -> dict[str, Any] | None:
        """The step that was interrupted, if any; only the last can be."""
        return next((step for step in self.steps if not step["done"]), None)

    def begin_step(self, stage: str, settings: Mapping[str, Any], kept: Path) -> dict[str, Any]:
        """Record a new step, and link to where it is kept."""
        folder = f"{len(self.steps)}-{stage}"
        step = {"folder": folder, "stage": stage, "settings": dict(settings), "key": kept.name, "done": False}
        self._unlink(folder)
        (self.path / folder).symlink_to(os.path.relpath(kept.resolve(), self.path.resolve()), target_is_directory=True)
        self.steps.append(step)
        self.save()
        return step

    def end_step(self, step: dict[str, Any], cost: Mapping[str, Any]) -> None:
        """Record that a step is done, and what it cost."""
        step.update(cost)
        step["done"] = True
        if self.again[:1] == [step["stage"]]:
            del self.again[0]
        self.save()

    @property
    def again(self) -> list[str]:
        """Stages that were dropped because what they were made of changed, and that are still to be made again."""
        again: list[str] = self.state.setdefault("again", [])
        return again

    @property
    def newest_step(self) -> str:
        """Names the last finished step and what it left; empty where there is none."""
        for step in reversed(self.done_steps()):
            about = self.path / step["folder"] / "done.json"
            return f"{step['folder']} {read_json(about)['bundle']}" if about.is_file() else str(step["folder"])
        return ""

    def drop_from(self, step: Mapping[str, Any]) -> list[str]:
        """Forget a step and all that were built on it; returns the names of what was dropped. What is kept stays."""
        position = self.steps.index(dict(step))
        dropped = self.steps[position:]
        del self.steps[position:]
        self.save()
        for one in dropped:
            self._unlink(one["folder"])
        return [one["folder"] for one in dropped]

    def _unlink(self, folder: str) -> None:
        path = self.path / folder
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)

    def bundle_path(self, step: Mapping[str, Any]) -> Path:
        """Where a step's bundle lies."""
        return self.path / step["folder"] / "bundle"

    def keep_report(self, signature: str, candidates: Mapping[str, str]) -> None:
        """Record that the report's files are written.

        Parameters
        ----------
        signature : str
            Of all that the comparison depends on.
        candidates : mapping of str to str
            Every candidate's key, of the result that the report speaks of.
        """
        written = self._hashes(REPORT_FILES)
        self.state["compare"] = {"signature": signature, "candidates": dict(candidates), "files": written}
        self.save()

    def report(self) -> dict[str, Any] | None:
        """The newest comparison's report; None where there is none, or one was cut off while its files were written."""
        known = self.state.get("compare") or {}
        files = known.get("files") or {}
        if not files or files != self._hashes(files):
            return None
        report: dict[str, Any] = read_json(self.path / "report.json")
        return report

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Raises RunBusyError if a living process holds it."""
        with locked(self.path):
            # What another process finished between our reading and our locking counts.
            self.state = read_json(self.path / "state.json")
            yield


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a second one is refused, a dead one's lock is taken over.

    The operating system drops the lock with the process that held it, so a folder is free whenever that one was
    killed. The file ``lock`` in it holds the process id, for people.

    Raises
    ------
    RunBusyError
        If a living process holds the folder.
    """
    import fcntl

    with (folder / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise RunBusyError(
                f"{folder} is in use by process {file.read().strip() or '?'}: wait for it to end, or stop it"
            ) from error
        if not (folder / "lock").is_file() or (folder / "lock").stat().st_ino != os.fstat(file.fileno()).st_ino:
            raise RunBusyError(f"{folder} was dropped by another process just now: give the command again")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def runs_of(parent: Path) -> list[Path]:
    """The run folders of a recipe, oldest first."""
    if not parent.is_dir():
        return []
    found = [path for path in parent.iterdir() if _STAMP.fullmatch(path.name) and (path / "state.json").is_file()]
    return sorted(found, key=lambda path: [int(part) for part in path.name.split("-")])


def find_run(parent: Path, run: str) -> RunFolder:
    """The run named by its stamp or its path.

    Raises
    ------
    RecipeError
        If there is none.
    """
    for path in (parent / run, Path(run)):
        if (path / "state.json").is_file():
            return RunFolder(path)
    known = [path.name for path in runs_of(parent)]
    raise RecipeError(f"no run {run!r}: expected one of {', '.join(known) or 'none yet'} under {parent}, or a path")


class Clock:
    """Counts the seconds spent on something, in a file, across kills: at most two of them are lost.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "clock.json"
    >>> with Clock(path) as first: pass
    >>> with Clock(path) as second: pass
    >>> second.seconds >= first.seconds >= 0
    True
    """

    _EVERY_S = 2.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = float(read_json(path)["seconds"]) if path.is_file() else 0.0
        self._ended: float | None = None
        self._stop = threading.Event()

    @property
    def seconds(self) -> float:
        """Seconds so far, earlier attempts included."""
        now = time.monotonic() if self._ended is None else self._ended
        return self._before + now - self._begun

    def __enter__(self) -> Clock:
        self._begun = time.monotonic()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
        self._stop.set()
        self._thread.join()
        self._write()

    def _tick(self) -> None:
        while not self._stop.wait(self._EVERY_S):
            self._write()

    def _write(self) -> None:
        # A stage that cleared its own folder took the clock with it; that is no reason to fail.
        if self._path.parent.is_dir():
            write_json(self._path, {"seconds": self.seconds})
