"""The files of a comparison in the run folder: report.json, report.md, report.html, rows.jsonl and plots.

Puts together what the leaderboard, the report and the plots make; all of it goes to the tracking store as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelwright.bundle.store import load
from labelwright.data.task import Example
from labelwright.files import read_json, write_json, write_text
from workbench.compare.board import Suspect
from workbench.compare.candidate import Candidate
from workbench.compare.jobs import Comparison
from workbench.recipe.recipe import read_chain
from workbench.recipe.rows import split_summary
from workbench.run.folder import read_curves
from workbench.run.session import Session


def write_report(
    work: Session, comparison: Comparison, candidates: Sequence[Candidate], test: Sequence[Example], command: str
) -> None:
    """Compute the statistics, write every file, record them."""
    from workbench.compare.leaderboard import build
    from workbench.report.document import machine, report_json, report_markdown, rows_jsonl, table
    from workbench.report.html import report_html
    from workbench.report.plots.figures import chosen_curves, figures, save

    path, names = work.folder.path, work.task.names
    table_of_recipe = work.recipe.compare
    board = build(candidates, test, names, table_of_recipe.bootstrap, work.recipe.seed, table_of_recipe.margin)
    board = replace(board, suspects=(*train_suspects(work, comparison), *board.suspects))
    curves = chosen_curves(stage_curves(work, comparison))
    about = {"recipe": work.recipe.name, "run": path.name, "command": command, "machine": machine()}
    stages = stage_records(work, comparison)
    about_rows = split_summary(work.splits, work.data_remarks)
    report = report_json(board, run=about, splits=about_rows, labels=names, stages=stages, test=test)
    drawn = figures(board, names, curves)
    save(drawn, path / "plots")
    bundle = work.newest_bundle() if work.folder.done_steps() else None
    write_text(path / "rows.jsonl", rows_jsonl(board, test, names))
    write_json(path / "report.json", report)
    write_text(path / "report.md", report_markdown(report, board, test, bundle, curves))
    write_text(path / "report.html", report_html(report, board, test, drawn))
    columns, cells = table(report)
    by_column = {column: [row[i] for row in cells] for i, column in enumerate(columns)}
    files = [path / name for name in ("report.html", "report.md", "report.json", "rows.jsonl", "plots")]
    work.tracking.comparison(by_column, report, files)
    for candidate in candidates:
        work.tracking.candidate(candidate, step_folders(comparison, candidate.name))


def train_suspects(work: Session, comparison: Comparison) -> tuple[Suspect, ...]:
    """Train rows whose label the baselines of ``[compare] noise`` doubt together, each answering out of fold."""
    from workbench.compare.noise import suspects

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


def stage_records(work: Session, comparison: Comparison) -> list[dict[str, Any]]:
    """For every step: its cost, its dev metrics, and what the stage wrote into the bundle's history.

    The run's own steps come first, then the stages of other candidates, each once.
    """
    records = []
    n_before = 0
    for step in work.folder.done_steps():
        bundle = load(work.folder.bundle_path(step))
        decided: dict[str, Any] = {}
        for entry in bundle.history[n_before:]:
            decided |= dict(entry)
        n_before = len(bundle.history)
        numbers = {key: value for key, value in bundle.report.items() if isinstance(value, (int, float))}
        records.append(_record(step["folder"], step["stage"], step["seconds"], decided, numbers))
        records[-1]["peak_memory_bytes"] = step["peak_memory_bytes"]
    seen = set()
    for name in comparison.names:
        for number, folder in enumerate(step_folders(comparison, name), start=1):
            if folder not in seen:
                seen.add(folder)
                stages = "+".join(read_chain(name).stages[:number])
                decided = dict(load(folder / "bundle").history[-1])
                seconds = read_json(folder / "done.json")["seconds"]
                records.append(
                    _record(stages + name[len(name.partition("@")[0]) :], decided["stage"], seconds, decided)
                )
    return records


def _record(
    folder: str, stage: str, seconds: float, decided: Mapping[str, Any], dev: Mapping[str, float] | None = None
) -> dict[str, Any]:
    about = {"folder": folder, "stage": stage, "seconds": seconds, "peak_memory_bytes": None}
    return {**about, "dev": dict(dev or {}), "decided": dict(decided)}
