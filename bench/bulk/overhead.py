"""Processor time of a row: by the plain command, over Ray on this machine, and over a local process.

Of rows that take next to nothing the start (Python, the model, a cluster) is not in it, nor is the end
(bench/bulk/turns.py); the whole of a command stands beside it, and is what counts of rows that take longer. Processor
time, since other work beside changes how long something takes, and less how much of it there is; the cluster's own
processes count.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import baselines.embeddings
import baselines.linear
from baselines.base import TextClassifier
from bench.bulk.turns import Turn, in_all, of_all_rows, watched
from bench.setting import Setting
from bench.timing import Measurement, Side, median, pairwise, ratio
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import Example, Task
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import Calibration

GOAL = 1.15
MANY_ROWS = 100_000
# Of an encoder, whose rows take dozens of times as long; of more of them a start is a smaller part.
FEWER_ROWS = 20_000
FITTED_ROWS = 500
# Where what Ray starts with the first rows counts as well, answers from this share on do.
FIRST = 0.02
# A worker of one thread each.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "ray": ("--engine", "ray", "--workers", "1", "--threads", "1"),
    "processes": ("--engine", "processes", "--workers", "1", "--threads", "1"),
}


class Taken(NamedTuple):
    """Processor seconds of a command: of all its rows, of them when its first ones count, and from start to end."""

    rows_s: float
    with_first_s: float
    whole_s: float


def bulk_overhead(setting: Setting, n_rows: int = MANY_ROWS, rounds: int = 3) -> Measurement:
    """Processor seconds of a row over Ray, over those of the plain command: a linear model on words, short texts."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        _write(setting.examples, n_rows, folder)
        _bundle(setting, folder, baselines.linear.sgd_ngrams)
        taken = [_round(folder) for _ in range(rounds)]
    a_row = {name: tuple(one[name].rows_s / n_rows * 1e6 for one in taken) for name in ENGINES}
    alone = pairwise(a_row["processes"], a_row["plain"])
    first, whole = (
        median([getattr(one["ray"], what) / getattr(one["plain"], what) for one in taken])
        for what in ("with_first_s", "whole_s")
    )
    return ratio(
        "bulk_overhead",
        pairwise(a_row["ray"], a_row["plain"]),
        goal=GOAL,
        at_most=True,
        sides={name: Side("us", values) for name, values in a_row.items()},
        facts={
            "n_rows": n_rows,
            "of_sums": sum(a_row["ray"]) / sum(a_row["plain"]),
            "with_first_rows": first,
            "start_to_end": whole,
            "start_to_end_s": {name: median([one[name].whole_s for one in taken]) for name in ENGINES},
            "processes_over_plain": {"median": median(alone), "min": min(alone), "max": max(alone)},
        },
    )


def bulk_overhead_encoder(setting: Setting, n_rows: int = FEWER_ROWS, rounds: int = 1) -> Measurement:
    """Processor seconds of a whole command over Ray, over those of the plain one: MiniLM's head, short texts."""
    names = "plain", "ray"
    with TemporaryDirectory() as place:
        folder = Path(place)
        _write(setting.examples, n_rows, folder)
        _bundle(setting, folder, baselines.embeddings.minilm_logreg)
        each = [_turns(folder, names)[0] for _ in range(rounds)]
    taken = {name: tuple(in_all(turns, name) for turns in each) for name in names}
    return ratio(
        "bulk_overhead_encoder",
        pairwise(taken["ray"], taken["plain"]),
        goal=GOAL,
        at_most=True,
        sides={name: Side("s", values) for name, values in taken.items()},
        facts={"n_rows": n_rows},
    )


def _round(folder: Path) -> dict[str, Taken]:
    """What each engine took."""
    turns, sizes = _turns(folder, tuple(ENGINES))
    rows, with_first = of_all_rows(turns, sizes), of_all_rows(turns, sizes, FIRST)
    return {name: Taken(rows[name], with_first[name], in_all(turns, name)) for name in ENGINES}


def _turns(folder: Path, names: Sequence[str]) -> tuple[list[dict[str, Turn]], dict[str, int]]:
    """What engines did, turn by turn, and bytes of each one's answers.

    Answers that are not the plain command's count for nothing.
    """
    with TemporaryDirectory(dir=folder) as place:
        own = {name: Path(place) / name for name in names}
        commands = {}
        for name in names:
            own[name].mkdir()
            command = [sys.executable, "-m", "labelwright.cli", "predict", str(folder / "bundle"), *ENGINES[name]]
            files = ["--input", str(folder / "rows.jsonl"), "--output", str(own[name] / "answers.jsonl")]
            commands[name] = (*command, *files)
        turns = watched(commands, own)
        answers = {name: (own[name] / "answers.jsonl").read_bytes() for name in names}
    for name, said in answers.items():
        if said != answers["plain"]:
            raise LabelwrightError(f"bulk_overhead: --engine {name} does not answer as the plain command does")
    return turns, {name: len(said) for name, said in answers.items()}


def _write(examples: Sequence[Example], n_rows: int, folder: Path) -> None:
    rows: Any = itertools.islice(itertools.cycle(examples), n_rows)
    lines = (json.dumps({"id": number, "text": row.text}) + "\n" for number, row in enumerate(rows))
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(lines)


def _bundle(setting: Setting, folder: Path, baseline: Callable[[Task, int], TextClassifier]) -> None:
    classifier, rows = baseline(setting.task, 0), setting.examples[:FITTED_ROWS]
    classifier.fit([row.text for row in rows], [row.label for row in rows])
    classifier.save(folder / "fitted")
    save(predictor_bundle(setting.task, "bulk", folder / "fitted", Calibration()), folder / "bundle")
