"""Processor time of a row: by the plain command, over Ray on this machine, and over a local process.

A command is watched with all that it starts while it writes answers, from when a fiftieth of them is there until nearly
all are: the start (Python, the model, a cluster) is not in it, nor is the end. What it took meanwhile is held against
the rows that it wrote. Processor time, since other work beside changes how long something takes, and less how much of
it there is; the cluster's own processes count. Less, but not little: who shares a core, or what it has kept at hand,
makes the same work take half as much again. So commands take turns, and more rounds see more.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import baselines.linear
from bench.setting import Setting
from bench.timing import Measurement, Side, median, pairwise, ratio
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import Example
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import Calibration

GOAL = 1.15
MANY_ROWS = 100_000
FITTED_ROWS = 500
_LOOKED_EVERY_S = 0.1
# Shares of its answers between which a command is watched.
BEGUN, NEARLY_DONE = 0.02, 0.95
# Files of answers by their ends: of a shard, of all; and of all while they are not yet whole.
_ANSWERS = (".jsonl", ".unfinished")
# A worker of one thread each.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "ray": ("--engine", "ray", "--workers", "1", "--threads", "1"),
    "processes": ("--engine", "processes", "--workers", "1", "--threads", "1"),
}


class Look(NamedTuple):
    """What a command had taken and written at a time."""

    processor_s: float
    n_bytes: int


def bulk_overhead(setting: Setting, n_rows: int = MANY_ROWS, rounds: int = 3) -> Measurement:
    """Processor seconds of a row over Ray, over those of the plain command: a linear model on words, short texts."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        _write(setting.examples, n_rows, folder)
        _bundle(setting, folder)
        turns = [_round(folder) for _ in range(rounds)]
    a_row = {name: tuple(one[name] / n_rows * 1e6 for one in turns) for name in ENGINES}
    return ratio(
        "bulk_overhead",
        pairwise(a_row["ray"], a_row["plain"]),
        goal=GOAL,
        at_most=True,
        sides={name: Side("us", values) for name, values in a_row.items()},
        facts={
            "n_rows": n_rows,
            "start": "left out: watched while answers are written",
            "processes_over_plain": median(pairwise(a_row["processes"], a_row["plain"])),
        },
    )


def _round(folder: Path) -> dict[str, float]:
    """Of each engine in turn the seconds of all rows; answers that are not the plain command's count for nothing."""
    taken: dict[str, float] = {}
    plain = b""
    for name, options in ENGINES.items():
        with TemporaryDirectory(dir=folder) as place:
            output = Path(place) / "answers.jsonl"
            command = [sys.executable, "-m", "labelwright.cli", "predict", str(folder / "bundle"), *options]
            looks = watched([*command, "--input", str(folder / "rows.jsonl"), "--output", str(output)], Path(place))
            answers = output.read_bytes()
        plain = plain or answers
        if answers != plain:
            raise LabelwrightError(f"bulk_overhead: --engine {name} does not answer as the plain command does")
        taken[name] = of_all_rows(looks, len(answers))
    return taken


def watched(command: Sequence[str], folder: Path) -> list[Look]:
    """Run a command that writes its answers into a folder, where nothing else is, and look at it until it is over.

    What it starts counts, processes that nobody waits for included.

    Raises
    ------
    LabelwrightError
        The command failed.
    """
    import psutil

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    looks = []
    seen: dict[tuple[int, float], float] = {}
    with TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        try:
            while process.poll() is None:
                with suppress(psutil.Error):
                    root = psutil.Process(process.pid)
                    for one in [root, *root.children(recursive=True)]:
                        with suppress(psutil.Error):
                            times = one.cpu_times()
                            seen[one.pid, one.create_time()] = times.user + times.system
                looks.append(Look(sum(seen.values()), _size(folder)))
                time.sleep(_LOOKED_EVERY_S)
        finally:
            process.terminate()
            process.wait()
        if process.returncode:
            said.seek(0)
            lines = said.read().strip().splitlines() or [f"a command ended with {process.returncode}"]
            raise LabelwrightError(f"bulk_overhead: {lines[-1]}")
    return looks


def of_all_rows(looks: Sequence[Look], whole: int) -> float:
    """Processor seconds that all rows would take, by what was taken from ``BEGUN`` to ``NEARLY_DONE``.

    Parameters
    ----------
    whole : int
        Bytes of all answers.

    Raises
    ------
    LabelwrightError
        The command was too fast to be looked at.
    """
    at_work = [one for one in looks if BEGUN * whole <= one.n_bytes <= NEARLY_DONE * whole]
    if len(at_work) < 2 or at_work[-1].n_bytes == at_work[0].n_bytes:
        raise LabelwrightError("bulk_overhead: a command was over before it was looked at twice; take more rows")
    begin, end = at_work[0], at_work[-1]
    return (end.processor_s - begin.processor_s) * whole / (end.n_bytes - begin.n_bytes)


def _size(folder: Path) -> int:
    """Bytes of answers in a folder and below, written in part or whole; what is counted beside them is no answer."""
    n_bytes = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            n_bytes += path.stat().st_size if path.suffix in _ANSWERS else 0
    return n_bytes


def _write(examples: Sequence[Example], n_rows: int, folder: Path) -> None:
    rows: Any = itertools.islice(itertools.cycle(examples), n_rows)
    lines = (json.dumps({"id": number, "text": row.text}) + "\n" for number, row in enumerate(rows))
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(lines)


def _bundle(setting: Setting, folder: Path) -> None:
    classifier, rows = baselines.linear.sgd_ngrams(setting.task, 0), setting.examples[:FITTED_ROWS]
    classifier.fit([row.text for row in rows], [row.label for row in rows])
    classifier.save(folder / "fitted")
    save(predictor_bundle(setting.task, "n-grams", folder / "fitted", Calibration()), folder / "bundle")
