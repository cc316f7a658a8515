"""Processor time of a row: by the plain command, over Ray on this machine, and over two local processes.

Of each side a command over few rows and one over many is watched, with all that it starts; what many take more than few
is what rows take, and the start (Python, the model, a cluster) is what is left. Processor time, since other work beside
changes how long something takes, and hardly how much of it there is; the cluster's own processes count. Hardly: who
shares a core, or what it has kept at hand, makes the same work take half as much again, so of the rounds the least
disturbed command of each kind counts.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import baselines.linear
from bench.setting import Setting
from bench.timing import Measurement, Side, pairwise, ratio, seconds_of
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import Example
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import Calibration

GOAL = 1.15
MANY_ROWS = 100_000
# Four shards.
FEW_ROWS = 16_384
FITTED_ROWS = 500
_LOOKED_EVERY_S = 0.1
# The same cores for both: one each. Two processes share the same work.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "ray": ("--engine", "ray", "--workers", "1", "--threads", "1"),
    "processes": ("--engine", "processes", "--workers", "2", "--threads", "1"),
}


class Taken(NamedTuple):
    """What a command took: processor seconds of all its processes, and seconds on the clock."""

    processor_s: float
    seconds: float


def bulk_overhead(setting: Setting, n_rows: int = MANY_ROWS, rounds: int = 3) -> Measurement:
    """Processor seconds of a row over Ray, over those of the plain command: a linear model on words, short texts."""
    few = min(FEW_ROWS, n_rows // 2)
    with TemporaryDirectory() as place:
        folder = Path(place)
        _write(setting.examples, few, n_rows, folder)
        _bundle(setting, folder)
        turns = [_round(folder) for _ in range(rounds)]
    by_engine = {name: [one[name] for one in turns] for name in ENGINES}
    a_row = {
        name: [(many.processor_s - less.processor_s) / (n_rows - few) * 1e6 for less, many in taken]
        for name, taken in by_engine.items()
    }
    least = {
        name: (min(many.processor_s for _, many in taken) - min(less.processor_s for less, _ in taken))
        / (n_rows - few)
        * 1e6
        for name, taken in by_engine.items()
    }
    by_round = ratio(
        "bulk_overhead",
        pairwise(a_row["ray"], a_row["plain"]),
        goal=GOAL,
        at_most=True,
        sides={name: Side("us", tuple(values)) for name, values in a_row.items()},
        facts={
            "n_rows": n_rows,
            "few_rows": few,
            "start": "left out: the difference between many rows and few",
            "least_us": least,
            "processes_over_plain": least["processes"] / least["plain"],
            "whole_processor_s": {name: [many.processor_s for _, many in taken] for name, taken in by_engine.items()},
            "whole_seconds": {name: [many.seconds for _, many in taken] for name, taken in by_engine.items()},
        },
    )
    value = least["ray"] / least["plain"]
    return replace(by_round, value=value, low=min(by_round.low, value), high=max(by_round.high, value))


def _round(folder: Path) -> dict[str, tuple[Taken, Taken]]:
    """Of each engine, few rows and many, in turn; answers that are not the plain command's count for nothing."""
    taken: dict[str, tuple[Taken, Taken]] = {}
    for name, options in ENGINES.items():
        less, many = (_taken(folder, name, options, rows) for rows in ("few", "many"))
        taken[name] = (less, many)
        if (folder / f"{name}.jsonl").read_bytes() != (folder / "plain.jsonl").read_bytes():
            raise LabelwrightError(f"bulk_overhead: --engine {name} does not answer as the plain command does")
    return taken


def _taken(folder: Path, name: str, options: Sequence[str], rows: str) -> Taken:
    output = folder / f"{name}.jsonl"
    command = [sys.executable, "-m", "labelwright.cli", "predict", str(folder / "bundle"), *options]
    command += ["--input", str(folder / f"{rows}.jsonl"), "--output", str(output)]
    watched: list[float] = []
    seconds = seconds_of(lambda: watched.append(processor_seconds(command)))
    return Taken(watched[0], seconds)


def processor_seconds(command: Sequence[str]) -> float:
    """Processor seconds of a command and of all that it starts, those included that nobody waits for.

    Raises
    ------
    LabelwrightError
        The command failed.
    """
    import psutil

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen: dict[tuple[int, float], float] = {}
    is_over = threading.Event()

    def look() -> None:
        with suppress(psutil.Error):
            root = psutil.Process(process.pid)
            for one in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    seen[one.pid, one.create_time()] = times.user + times.system

    def watch(look: Callable[[], None] = look) -> None:
        while not is_over.wait(_LOOKED_EVERY_S):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    is_over.set()
    watcher.join()
    if process.returncode:
        raise LabelwrightError(f"bulk_overhead: {said.strip().splitlines()[-1]}")
    return sum(seen.values())


def _write(examples: Sequence[Example], few: int, many: int, folder: Path) -> None:
    for name, n in {"few": few, "many": many}.items():
        rows: Any = itertools.islice(itertools.cycle(examples), n)
        lines = (json.dumps({"id": number, "text": row.text}) + "\n" for number, row in enumerate(rows))
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(lines)


def _bundle(setting: Setting, folder: Path) -> None:
    classifier, rows = baselines.linear.sgd_ngrams(setting.task, 0), setting.examples[:FITTED_ROWS]
    classifier.fit([row.text for row in rows], [row.label for row in rows])
    classifier.save(folder / "fitted")
    save(predictor_bundle(setting.task, "n-grams", folder / "fitted", Calibration()), folder / "bundle")
