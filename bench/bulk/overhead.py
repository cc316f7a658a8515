"""Processor time of a row: over Ray on this machine, or over a local process, beside the plain command's.

What shares a machine makes the same work take half as much again, and half a minute later it does not. So both commands
are at work at the same time: the other one begins, and once it writes answers the plain one begins as well. While both
write answers, the processor time of each, with that of all it started, is held against the rows that it wrote. The
start (Python, the model, a cluster) is not in it, nor is the end. Processor time, since the two share the cores with
each other; the cluster's own processes count.
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
from tempfile import TemporaryDirectory
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
# A window in which less of the answers is written says little.
LEAST_SHARE = 0.2
# A worker of one thread each.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "ray": ("--engine", "ray", "--workers", "1", "--threads", "1"),
    "processes": ("--engine", "processes", "--workers", "1", "--threads", "1"),
}


class Look(NamedTuple):
    """What a command had taken and written at a time."""

    processor_s: float
    n_bytes: int


class Watched:
    """A command that is watched while it runs, with all that it starts, those included that nobody waits for.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Where it writes its answers, and nothing else is.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._said = folder.with_suffix(".stderr").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=self._said)
        self._folder = folder
        self._seen: dict[tuple[int, float], float] = {}

    def look(self) -> Look:
        """Now."""
        import psutil

        with suppress(psutil.Error):
            root = psutil.Process(self._process.pid)
            for one in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    self._seen[one.pid, one.create_time()] = times.user + times.system
        return Look(sum(self._seen.values()), _size(self._folder))

    @property
    def is_over(self) -> bool:
        """Whether it has ended. Raises LabelwrightError where it failed."""
        code = self._process.poll()
        if code:
            self._said.seek(0)
            lines = self._said.read().strip().splitlines() or [f"a command ended with {code}"]
            raise LabelwrightError(f"bulk_overhead: {lines[-1]}")
        return code is not None

    def end(self) -> None:
        """Whether it has ended or not."""
        self._process.terminate()
        self._process.wait()
        self._said.close()


def bulk_overhead(setting: Setting, n_rows: int = MANY_ROWS, rounds: int = 3) -> Measurement:
    """Processor seconds of a row over Ray, over those of the plain command: a linear model on words, short texts."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        _write(setting.examples, n_rows, folder)
        _bundle(setting, folder)
        turns = [{name: _beside(folder, name, n_rows) for name in ENGINES} for _ in range(rounds)]
    of_ray, plain = zip(*(one["ray"] for one in turns), strict=True)
    of_processes = [own / beside for own, beside in (one["processes"] for one in turns)]
    return ratio(
        "bulk_overhead",
        pairwise(of_ray, plain),
        goal=GOAL,
        at_most=True,
        sides={"plain": Side("us", plain), "ray": Side("us", of_ray)},
        facts={
            "n_rows": n_rows,
            "start": "left out: both commands are at work already",
            "processes_over_plain": median(of_processes),
        },
    )


def _beside(folder: Path, name: str, n_rows: int) -> tuple[float, float]:
    """Microseconds of a row of an engine, and of the plain command beside it."""
    own, plain = (folder / f"{name}-{number}" / "answers.jsonl" for number in (1, 2))
    predict = [sys.executable, "-m", "labelwright.cli", "predict", str(folder / "bundle")]
    predict += ["--input", str(folder / "rows.jsonl"), "--output"]
    looks = at_the_same_time([*predict, str(own), *ENGINES[name]], own.parent, [*predict, str(plain)], plain.parent)
    if own.read_bytes() != plain.read_bytes():
        raise LabelwrightError(f"bulk_overhead: --engine {name} does not answer as the plain command does")
    whole = plain.stat().st_size
    for output in (own, plain):
        output.unlink()
    taken, beside = rows_of(looks, whole)
    return taken / n_rows * 1e6, beside / n_rows * 1e6


def at_the_same_time(
    first: Sequence[str], first_writes: Path, second: Sequence[str], second_writes: Path
) -> list[tuple[Look, Look]]:
    """Run two commands, the second from when the first writes, and look at both until both are over.

    Parameters
    ----------
    first_writes, second_writes : Path
        Where each writes its answers; made where they are not there.

    Raises
    ------
    LabelwrightError
        One of them failed.
    """
    first_writes.mkdir(exist_ok=True)
    second_writes.mkdir(exist_ok=True)
    looks = []
    one = Watched(first, first_writes)
    try:
        while not one.is_over and not one.look().n_bytes:
            time.sleep(_LOOKED_EVERY_S)
        other = Watched(second, second_writes)
        try:
            while not all([one.is_over, other.is_over]):
                looks.append((one.look(), other.look()))
                time.sleep(_LOOKED_EVERY_S)
        finally:
            other.end()
    finally:
        one.end()
    return looks


def rows_of(looks: Sequence[tuple[Look, Look]], whole: int) -> tuple[float, float]:
    """Processor seconds that all rows would take of each command, by what it took while both wrote answers.

    Parameters
    ----------
    whole : int
        Bytes of all answers.

    Raises
    ------
    LabelwrightError
        One was over before the other had well begun.
    """
    both = [pair for pair in looks if all(BEGUN * whole <= one.n_bytes <= NEARLY_DONE * whole for one in pair)]
    if not both or any(both[-1][k].n_bytes - both[0][k].n_bytes < LEAST_SHARE * whole for k in (0, 1)):
        raise LabelwrightError("bulk_overhead: the two commands were hardly at work at the same time; take more rows")
    begin, end = both[0], both[-1]
    first, second = (
        (end[k].processor_s - begin[k].processor_s) * whole / (end[k].n_bytes - begin[k].n_bytes) for k in (0, 1)
    )
    return first, second


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
