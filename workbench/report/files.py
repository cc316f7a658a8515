"""The files of a comparison in the run folder: report.json, report.md, report.html, rows.jsonl and plots.

Puts together what the leaderboard, the run's folders and the renderers make; all of it goes to the tracking store too.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from labelwright.data.task import Example
from labelwright.files import write_json, write_text
from workbench.compare.asked.joint import WANTED
from workbench.compare.asked.structured import with_structured
from workbench.compare.board import Leaderboard, Suspect
from workbench.compare.candidate import Candidate
from workbench.compare.details import doubted_rows, rows_jsonl
from workbench.compare.jobs import Comparison
from workbench.compare.leaderboard import build
from workbench.compare.noise import suspects
from workbench.compare.together.money import money_of
from workbench.recipe.splits import split_summary
from workbench.report.markdown import markdown, verdict_markdown
from workbench.report.notes import candidate_note, run_note
from workbench.report.report import Report, SplitSizes
from workbench.report.stages import abstain_threshold, chosen_curves, stage_records, steps_by_name
from workbench.report.table import Table
from workbench.report.tables import tables
from workbench.run.session import Session


def write_report(
    work: Session, comparison: Comparison, candidates: Sequence[Candidate], test: Sequence[Example], command: str
) -> None:
    """Compute the statistics, write every file, record them."""
    from workbench.report.html import html
    from workbench.report.plots.figures import figures, save

    path, report = work.folder.path, make_report(work, comparison, candidates, test, command)
    drawn = figures(report)
    # Before the PNGs: a picture is laid out anew for every format, from where the last one left it.
    page = html(report, drawn)
    save(drawn, path / "plots")
    write_text(path / "rows.jsonl", rows_jsonl(candidates, report, test))
    write_json(path / "report.json", report.to_json())
    write_text(path / "report.md", markdown(report))
    write_text(path / "report.html", page)
    files = [path / name for name in ("report.html", "report.md", "report.json", "rows.jsonl", "plots")]
    # The worst first: MLflow's page of models has the newest on top.
    scored = {entry.name: entry for entry in sorted(report.scored, key=lambda entry: entry.merit(report.by))}
    by_name, steps = {candidate.name: candidate for candidate in candidates}, steps_by_name(work, comparison)
    for name, entry in scored.items():
        (step,) = comparison.steps(comparison.jobs(name)[0])[-1:] or [steps.get(by_name[name].step or "")]
        work.tracking.candidate(by_name[name], entry, candidate_note(entry), step)
    work.tracking.comparison(mlflow_table(tables(report)[0]), report, run_note(report), verdict_markdown(report), files)
    work.tracking.evaluation(candidates, report, test)
    # Where rows can have but some of the labels, no label is one for another row.
    if not work.task.restricts_rows:
        ships = next(one for one in candidates if one.name == report.verdict.ship)
        most = work.recipe.tracking.review_rows
        doubted = doubted_rows(report.suspects, ships, abstain_threshold(ships), report.labels, test, most)
        work.tracking.review(doubted, report.labels)


def make_report(
    work: Session, comparison: Comparison, candidates: Sequence[Candidate], test: Sequence[Example], command: str
) -> Report:
    """The statistics of what was scored, and its circumstances."""
    path, names, table = work.folder.path, work.task.names, work.recipe.compare
    settings: dict[str, Any] = {"task": work.task, "wanted": comparison.calibration().maximise or WANTED}
    board = build(candidates, test, names, table.bootstrap, work.recipe.seed, table.margin, **settings)
    board = with_structured(board, candidates, test, work.task, table.bootstrap, work.recipe.seed)
    money = work.recipe.money
    board = replace(board, money=money_of(board.scored, money), person=money.person)
    sizes, newest = split_summary(work.splits, work.data_remarks), work.newest_bundle()
    steps = steps_by_name(work, comparison)
    return with_circumstances(
        board,
        suspects=(*train_suspects(work, comparison), *board.suspects),
        recipe=work.recipe.name,
        run=path.name,
        command=command,
        machine=machine(),
        splits=SplitSizes(**{**sizes, "remarks": tuple(sizes["remarks"])}),
        stages=tuple(stage_records(steps)),
        curves=chosen_curves(steps),
        prompt=newest.prompt.system if newest else None,
    )


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


def train_suspects(work: Session, comparison: Comparison) -> tuple[Suspect, ...]:
    """Train rows whose label the baselines of ``[compare] noise`` doubt together, each answering out of fold."""
    answers = {name: comparison.train_probs(name) for name in comparison.names}
    found = {name: probs for name, probs in answers.items() if probs is not None}
    return suspects("train", work.splits.train, found, work.task.names) if len(found) > 1 else ()


def machine() -> str:
    """What ran this: processor, cores, memory, accelerator if there is one."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    text = f"{system}, Python {platform.python_version()}"
    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else text
