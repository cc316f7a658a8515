"""The most memory that `make demo` holds at once: read off the newest finished run, or measured on a shortened one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bench.timing import Measurement, Side
from labelwright.errors import LabelwrightError
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS, RunFolder, runs_of

# Memory follows the batches and the model, not how many steps there are: two steps of GRPO, a glance of GEPA.
SHORTENED: dict[str, dict[str, int | bool]] = {
    "gepa": {"max_metric_calls": 300},
    "grpo": {"steps": 2, "eval_every": 1},
    "compare": {"generate_rows": 16, "latency_rows": 2, "bootstrap": 100},
    "tracking": {"system_metrics": False},
}

# A child's peak begins at what its parent held when it was started, so a small process stands in between.
_WATCH = (
    "import os, subprocess, sys, time;"
    "begun = time.perf_counter();"
    "child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr);"
    "_, status, usage = os.wait4(child.pid, 0);"
    "peak = usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024);"
    "print(peak, usage.ru_utime + usage.ru_stime, time.perf_counter() - begun);"
    "sys.exit(os.waitstatus_to_exitcode(status) != 0)"
)


class Usage(NamedTuple):
    """What a command took, the processes that it started and waited for included.

    Attributes
    ----------
    peak_bytes : int
        Resident, of the largest of these processes.
    cpu_s, wall_s : float
    said : str
        All that it wrote, to stdout and stderr.
    """

    peak_bytes: int
    cpu_s: float
    wall_s: float
    said: str


def peak_memory_demo(recipe: Path) -> Measurement:
    """Peak resident bytes of the demo: of the newest finished run if there is one, else of a shortened demo."""
    finished = _finished_run(RUNS / read_recipe(recipe).name)
    if finished is not None:
        peaks = {step["folder"]: step["peak_memory_bytes"] for step in finished.steps if "peak_memory_bytes" in step}
        whole = finished.state.get("peak_memory_bytes")
        if whole:
            peaks["whole demo"] = whole
        covers = "the whole demo" if whole else "all stages"
        facts = {"source": f"finished run {finished.path.name}", "by_step": peaks, "covers": covers}
        return _measurement(max(peaks.values()), facts)
    command = [sys.executable, "-m", "workbench", "demo", "memory.toml"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "memory.toml").write_text(shortened(recipe), encoding="utf-8")
        peak = peak_of(command, Path(folder))
    facts = {"source": "shortened demo", "covers": "stages, comparison and export", "changed": SHORTENED}
    return _measurement(peak, facts)


def peak_of(command: list[str], folder: Path) -> int:
    """``usage_of``, the memory alone."""
    return usage_of(command, folder).peak_bytes


def usage_of(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> Usage:
    """What a command took, run in a folder, with this house on its import path.

    Parameters
    ----------
    variables : mapping of str to str, optional
        Of its environment, beside those of this process.

    Raises
    ------
    LabelwrightError
        If the command fails; the message holds the end of what it said.
    """
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | {
        **(variables or {})
    }
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), environment.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", _WATCH, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        tail = done.stderr.strip()[-500:]
        raise LabelwrightError(f"{' '.join(command)} failed, so its memory is not known; it ended with: {tail}")
    peak, cpu_s, wall_s = done.stdout.split()[-3:]
    return Usage(int(peak), float(cpu_s), float(wall_s), done.stderr)


def shortened(recipe: Path) -> str:
    """The recipe's text with small budgets, and with its data file where it really is."""
    text = recipe.read_text(encoding="utf-8")
    data = read_recipe(recipe).data
    if data.path:
        text = _with_key(text, "data", "path", json.dumps(str(Path(data.path).resolve())))
    for table, keys in SHORTENED.items():
        for key, value in keys.items():
            text = _with_key(text, table, key, json.dumps(value))
    return text


def _with_key(text: str, table: str, key: str, value: str) -> str:
    """TOML text with one key of one table set; recipes write each on a line of its own."""
    head = re.search(rf"^\[{table}\].*$", text, flags=re.MULTILINE)
    if head is None:
        return f"{text.rstrip()}\n\n[{table}]\n{key} = {value}\n"
    following = re.search(r"^\[", text[head.end() :], flags=re.MULTILINE)
    end = head.end() + following.start() if following else len(text)
    body = re.sub(rf"^{key}\s*=.*\n?", "", text[head.end() : end], flags=re.MULTILINE)
    return f"{text[: head.end()]}\n{key} = {value}{body}{text[end:]}"


def _finished_run(parent: Path) -> RunFolder | None:
    """The newest run that went to its end and knows its memory."""
    for path in reversed(runs_of(parent)):
        folder = RunFolder(path)
        if folder.state.get("finished") and any("peak_memory_bytes" in step for step in folder.steps):
            return folder
    return None


def _measurement(peak: int, facts: dict) -> Measurement:
    return Measurement(
        "peak_memory_demo_bytes", peak, "bytes", peak, peak, sides={"demo": Side("bytes", (peak,))}, facts=facts
    )
