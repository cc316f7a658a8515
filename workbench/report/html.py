"""The comparison as one page, ``report.html``: opens offline, asks nothing of any network, holds its plots.

Puts together what the leaderboard found; the numbers' text is ``workbench.report.page_tables``', the layout the
template's. Rows, labels and instructions are other people's text: everything goes through the template's escaping, only
the plots' own SVG does not, whose text matplotlib escapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from labelwright.data.task import Example, group_keys
from workbench.compare.board import Leaderboard, Line
from workbench.report import page_tables
from workbench.report.markdown import limits
from workbench.report.plots.answers import MOST_LABELS
from workbench.report.plots.figures import svg
from workbench.report.wording import megabytes, milliseconds

TEMPLATE = Path(__file__).with_name("report.html.jinja")
# No script, no style sheet, no picture, no frame and no font from anywhere: what the page needs is in it.
SECURITY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)


def report_html(
    report: Mapping[str, Any], board: Leaderboard, test: Sequence[Example], figures: Mapping[str, Figure]
) -> str:
    """The page's HTML.

    Parameters
    ----------
    report : mapping
        What ``workbench.report.document.report_json`` made.
    test : sequence of Example
        The rows behind the candidates' probabilities.
    figures : mapping of str to Figure
        What ``workbench.report.plots.figures.figures`` drew.
    """
    labels, verdict = report["labels"], board.verdict
    shipped = board.line(verdict.ship or verdict.best)
    shown = [shipped] if shipped.candidate.name == verdict.best else [shipped, board.line(verdict.best)]
    sizes, learned = page_tables.learning(board)
    scored = [line for line in board.lines if not line.candidate.failed]
    page = (
        _environment()
        .get_template(TEMPLATE.name)
        .render(
            security=SECURITY,
            report=report,
            verdict=verdict,
            facts=_facts(shipped),
            n_scored=len(scored),
            n_groups=len(set(group_keys(test))),
            n_test=len(test),
            leaderboard=page_tables.leaderboard(board),
            costs=page_tables.costs(board),
            sizes=sizes,
            learned=learned,
            spreads=page_tables.spreads(board),
            paired=page_tables.paired(board),
            by_label=[page_tables.labels_of(line, board, labels) for line in shown],
            mistakes=[page_tables.mistakes(line, board, test, labels) for line in shown],
            suspects=board.suspects,
            out_of_scope=page_tables.out_of_scope(board),
            calibrations=page_tables.calibrations(board),
            stages=page_tables.stages(report),
            seeds=sorted({(one.split_seed, one.seed) for line in scored for one in line.candidate.repeats}),
            limits=limits(report, board, test),
            plots={name: Markup(svg(figure, name)) for name, figure in figures.items()},
            told=_told_plots(board, report["splits"]["n_labels"]),
            clean=page_tables.clean,
        )
    )
    # Half a surrogate pair, which JSON lets through, can be written in no encoding.
    return page.encode("utf-8", "replace").decode("utf-8")


def _facts(line: Line) -> list[tuple[str, str, str]]:
    """The numbers of the candidate to ship that a reader asks for first: what, value, and what is behind it."""
    accuracy, cost = page_tables.percent_points(line.test["accuracy"]), line.candidate.cost
    facts = [("to ship", line.candidate.name, line.candidate.about)]
    facts.append(("accuracy on test", f"{accuracy.value} %", f"95 % interval {accuracy.about}"))
    if cost.get("ms_p50"):
        facts.append(("a row", f"{milliseconds(cost['ms_p50'])} ms", "one at a time, median"))
    if cost.get("size_bytes"):
        facts.append(("on disk", megabytes(cost["size_bytes"]), "base model or encoder included"))
    if "ece" in line.test:
        facts.append(("calibration error", f"{100 * line.test['ece'].value:.1f} %", "ECE after calibration"))
    return facts


def _told_plots(board: Leaderboard, n_labels: int) -> dict[str, str]:
    """Every plot in words, for those who do not see it."""
    verdict = board.verdict
    scored = [line for line in board.lines if not line.candidate.failed]
    best, lowest = board.line(verdict.best), min(scored, key=lambda line: line.test["accuracy"].value)
    frontier = ", ".join(board.frontier) or "not known"
    labels = (
        f"{n_labels} labels" if n_labels <= MOST_LABELS else f"the {MOST_LABELS} most mistaken of {n_labels} labels"
    )
    squares = f"{labels} by answer; green squares are right answers, red ones mistakes, listed in the tables below"
    return {
        "accuracy": f"Test accuracy of {len(scored)} candidates with 95 % intervals, from "
        f"{100 * lowest.test['accuracy'].value:.1f} % ({lowest.candidate.name}) to "
        f"{100 * best.test['accuracy'].value:.1f} % ({best.candidate.name}); the table above has the numbers.",
        "cost": f"Test accuracy against milliseconds a row. On the efficient frontier, from fast to slow: {frontier}.",
        "learning-curve": "Test accuracy against training rows a label; the numbers are in the table below.",
        "confusion": f"Confusion of {verdict.best}: {squares}.",
        "confusion-shipped": f"Confusion of {verdict.ship}: {squares}.",
        "reliability": "Accuracy against mean confidence in ten bins, before and after calibration.",
        "risk-coverage": "Share of wrong answers against the share of rows answered, most confident first.",
        "curves": "Training curves of the stages: dev accuracy and rewards by step.",
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["set_in_type"] = _set_in_type
    return environment


def _set_in_type(text: str) -> str:
    """A number stays on a line with its unit."""
    return re.sub(r"(?<=[\d\]]) (?=(?:%|ms|MB|kB)(?!\w))", "\u00a0", text).replace(">=", "≥")
