"""The files of a comparison in the run folder: report.json, report.md, report.html, rows.jsonl and plots.

Puts together what the leaderboard, the run's folders and the renderers make; all of it goes to the tracking store too.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from labelwright.bundle.store import load
from labelwright.data.task import Example
from labelwright.statistics.metrics import answers
from workbench.compare.board import Leaderboard, Suspect
from workbench.compare.candidate import Candidate
from workbench.compare.jobs import Comparison
from workbench.compare.leaderboard import build
from workbench.compare.noise import suspects
from workbench.recipe.recipe import read_chain
from workbench.recipe.rows import split_summary
from workbench.report.markdown import markdown
from workbench.report.report import Curves, Report, SplitSizes, Stage
from workbench.report.table import Table
from workbench.report.tables import tables
from workbench.run.folder import read_curves, read_json, write_json, write_text
from workbench.run.session import Session

# How many labels of a row get a probability in rows.jsonl: all of 77 would make a comparison's file of 200 MB.
_N_LIKELIEST = 20
# Of a stage's curves those whose names have one of these say whether it learns; so many of them are kept.
_TELLING = ("dev_accuracy", "reward", "accuracy", "dev")
_N_CURVES = 3


def write_report(
    work: Session, comparison: Comparison, candidates: Sequence[Candidate], test: Sequence[Example], command: str
) -> None:
    """Compute the statistics, write every file, record them."""
    from workbench.report.html import html
    from workbench.report.plots.figures import figures, save

    path, names, table = work.folder.path, work.task.names, work.recipe.compare
    board = build(candidates, test, names, table.bootstrap, work.recipe.seed, table.margin)
    sizes = split_summary(work.splits, work.data_remarks)
    report = with_circumstances(
        board,
        suspects=(*train_suspects(work, comparison), *board.suspects),
        recipe=work.recipe.name,
        run=path.name,
        command=command,
        machine=machine(),
        splits=SplitSizes(**{**sizes, "remarks": tuple(sizes["remarks"])}),
        stages=tuple(stage_records(work, comparison)),
        curves=chosen_curves(stage_curves(work, comparison)),
        prompt=work.newest_bundle().prompt.system if work.folder.done_steps() else None,
    )
    drawn = figures(report)
    # Before the PNGs: a picture is laid out anew for every format, from where the last one left it.
    page = html(report, drawn)
    save(drawn, path / "plots")
    write_text(path / "rows.jsonl", rows_jsonl(candidates, report, test))
    write_json(path / "report.json", report.to_json())
    write_text(path / "report.md", markdown(report))
    write_text(path / "report.html", page)
    files = [path / name for name in ("report.html", "report.md", "report.json", "rows.jsonl", "plots")]
    work.tracking.comparison(mlflow_table(tables(report)[0]), report, files)
    for candidate in candidates:
        work.tracking.candidate(candidate, step_folders(comparison, candidate.name))


def with_circumstances(board: Leaderboard, **circumstances: Any) -> Report:
    """The report of a leaderboard: its fields, and those of ``Report`` that are given."""
    return Report(**{**{one.name: getattr(board, one.name) for one in fields(board)}, **circumstances})


def mlflow_table(table: Table) -> dict[str, list[str]]:
    """Columns by name, as MLflow takes a table: intervals in brackets behind their values."""
    shown = {column.name: table.values(column.name) for column in table.columns}
    for place, name in enumerate(shown):
        if table.columns[place].kind == "number":
            for number, row in enumerate(table.rows):
                if len(row) == len(table.columns):
                    shown[name][number] = " ".join(row[place]).rstrip()
    return shown


def rows_jsonl(candidates: Sequence[Candidate], board: Leaderboard, test: Sequence[Example]) -> str:
    """One line a test row: id, text, label, and every candidate's label and calibrated probabilities.

    Where there are more than 20 labels, only the likeliest 20 of a candidate are given, in the order of the labels.
    Free text has no probabilities, and where it is no label, its label is null.
    """
    labels, measured = board.labels, {entry.name for entry in board.scored}
    told = {one.name: _likeliest(one) for one in candidates if one.name in measured}
    lines = []
    for i, row in enumerate(test):
        given: dict[str, dict[str, Any]] = {}
        for name, (chosen, shown, values) in told.items():
            given[name] = {"label": labels[chosen[i]] if 0 <= chosen[i] < len(labels) else None}
            if shown is not None and values is not None:
                pairs = zip(shown[i].tolist(), values[i].tolist(), strict=True)
                given[name]["probabilities"] = {labels[k]: round(value, 6) for k, value in pairs}
        value = {"id": row.id, "text": row.text, "label": row.label, "group": row.group, "candidates": given}
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def _likeliest(candidate: Candidate) -> tuple[Any, Any, Any]:
    """A candidate's answers (n_test,), and its likeliest labels' positions and probabilities, each (n_test, shown)."""
    probs = candidate.probs
    chosen = answers(probs)
    if candidate.kind == "free":
        return chosen, None, None
    shown = np.sort(np.argsort(-probs, axis=1, kind="stable")[:, :_N_LIKELIEST], axis=1)
    return chosen, shown, np.take_along_axis(probs, shown, axis=1)


def machine() -> str:
    """What ran this: processor, cores, memory, accelerator if there is one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    text = f"{system}, Python {platform.python_version()}"
    import torch

    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else text


def train_suspects(work: Session, comparison: Comparison) -> tuple[Suspect, ...]:
    """Train rows whose label the baselines of ``[compare] noise`` doubt together, each answering out of fold."""
    answers = {name: comparison.train_probs(name) for name in comparison.names}
    found = {name: probs for name, probs in answers.items() if probs is not None}
    return suspects("train", work.splits.train, found, work.task.names) if len(found) > 1 else ()


def step_folders(comparison: Comparison, name: str) -> list[Path]:
    """Folders of the stages run for a candidate of the model; none for the run's own steps, which are recorded."""
    path = comparison.place(comparison.jobs(name)[0]).with_suffix(".steps.json")
    folders = [Path(folder) for folder in read_json(path)] if path.is_file() else []
    # One that was forgotten, and not trained again yet, has nothing to tell.
    return [folder for folder in folders if (folder / "done.json").is_file()]


def stage_curves(work: Session, comparison: Comparison) -> dict[str, Any]:
    """Curves by name: of the run's own steps by folder, of other candidates' last stages by candidate."""
    found = {
        step["folder"]: read_curves(work.folder.path / step["folder"] / "curves.jsonl")
        for step in work.folder.done_steps()
    }
    for name in comparison.names:
        for folder in step_folders(comparison, name)[-1:]:
            found[name] = read_curves(folder / "curves.jsonl")
    return {name: curves for name, curves in found.items() if curves}


def chosen_curves(curves: Mapping[str, Mapping[str, Any]]) -> dict[str, Curves]:
    """Of each step's metrics the few that say whether it learns: dev scores and rewards."""

    def order(name: str) -> tuple[int, str]:
        return next(i for i, word in enumerate(_TELLING) if word in name), name

    chosen: dict[str, Curves] = {}
    for step, metrics in curves.items():
        finite = {name: tuple((at, value) for at, value in metrics[name] if math.isfinite(value)) for name in metrics}
        telling = (name for name, points in finite.items() if len(points) > 1 and any(w in name for w in _TELLING))
        if usable := sorted(telling, key=order):
            chosen[step] = {name: finite[name] for name in usable[:_N_CURVES]}
    return chosen


def stage_records(work: Session, comparison: Comparison) -> list[Stage]:
    """For every step: its cost, its dev metrics, and what the stage wrote into the bundle's history.

    The run's own steps come first, then the stages of other candidates, each once.
    """
    records, n_before = [], 0
    for step in work.folder.done_steps():
        bundle = load(work.folder.bundle_path(step))
        decided: dict[str, Any] = {}
        for entry in bundle.history[n_before:]:
            decided |= dict(entry)
        n_before = len(bundle.history)
        known = {key: value for key, value in bundle.report.items() if isinstance(value, (int, float))}
        dev = {key: float(value) for key, value in known.items() if math.isfinite(value)}
        records.append(Stage(step["folder"], step["stage"], step["seconds"], step["peak_memory_bytes"], dev, decided))
    seen = set()
    for name in comparison.names:
        for number, folder in enumerate(step_folders(comparison, name), start=1):
            if folder not in seen:
                seen.add(folder)
                stages = "+".join(read_chain(name).stages[:number]) + name[len(name.partition("@")[0]) :]
                decided = dict(load(folder / "bundle").history[-1])
                seconds = read_json(folder / "done.json")["seconds"]
                records.append(Stage(stages, decided["stage"], seconds, None, {}, decided))
    return records
