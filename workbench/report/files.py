"""The files of a comparison in the run folder: report.json, report.md, report.html, rows.jsonl and plots.

Puts together what the leaderboard, the report and the plots make; all of it goes to the tracking store as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from labelwright.data.task import Example
from labelwright.files import write_json, write_text
from workbench.compare.board import Suspect
from workbench.compare.candidate import Candidate
from workbench.compare.jobs import Comparison
from workbench.recipe.splits import split_summary
from workbench.report.stages import stage_curves, stage_records, steps_by_name
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
    steps = steps_by_name(work, comparison)
    curves = chosen_curves(stage_curves(steps))
    about = {"recipe": work.recipe.name, "run": path.name, "command": command, "machine": machine()}
    stages = stage_records(steps)
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
        if not candidate.failed:
            test_metrics = {name: one.value for name, one in board.line(candidate.name).test.items()}
            (step,) = comparison.steps(comparison.jobs(candidate.name)[0])[-1:] or [steps.get(candidate.step or "")]
            work.tracking.candidate(candidate, test_metrics, step)


def train_suspects(work: Session, comparison: Comparison) -> tuple[Suspect, ...]:
    """Train rows whose label the baselines of ``[compare] noise`` doubt together, each answering out of fold."""
    from workbench.compare.noise import suspects

    answers = {name: comparison.train_probs(name) for name in comparison.names}
    found = {name: probs for name, probs in answers.items() if probs is not None}
    return suspects("train", work.splits.train, found, work.task.names) if len(found) > 1 else ()
