"""The report as one page, ``report.html``: opens offline, asks nothing of any network, holds its plots.

What the tables hold is ``workbench.report.tables``', the layout the template's. Rows, labels and instructions are other
people's text: everything goes through the template's escaping, only the plots' own SVG does not, whose text matplotlib
escapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.report.limits import limits
from workbench.report.plots.captions import pictures
from workbench.report.plots.figures import svg
from workbench.report.plots.style import KINDS
from workbench.report.report import Report
from workbench.report.table import LONGEST, cost_a_row, metric
from workbench.report.tables import tables
from workbench.report.verdict_words import words
from workbench.wording import megabytes, milliseconds

TEMPLATE = Path(__file__).with_name("report.html.jinja")
# No script, no style sheet, no picture, no frame and no font from anywhere: what the page needs is in it.
SECURITY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)


def html(report: Report, figures: Mapping[str, Figure]) -> str:
    """The page's HTML, with the pictures that ``workbench.report.plots.figures.figures`` drew of the report."""
    shown = [table for table in tables(report) if table.rows or table.nothing]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"set_in_type": _set_in_type, "clean": clean}
    page = environment.get_template(TEMPLATE.name).render(
        security=SECURITY,
        report=report,
        words=words(report),
        facts=_facts(report),
        sections=[(section, list(some)) for section, some in groupby(shown, key=lambda table: table.section)],
        entries={entry.name: entry for entry in report.candidates},
        kinds={kind: said for kind, (_, _, said) in KINDS.items()},
        longest=LONGEST,
        limits=limits(report),
        plots={name: Markup(svg(figure, name)) for name, figure in figures.items()},
        pictures=pictures(report),
    )
    # Half a surrogate pair, which JSON lets through, can be written in no encoding.
    return page.encode("utf-8", "replace").decode("utf-8")


def clean(text: str, longest: int) -> str:
    """User text as a page can hold it: no lone surrogates, no control characters, cut where it is very long.

    >>> clean("a\\x00b\\ud800c", 9), clean("abcdef", 4)
    ('a\ufffdb\ufffdc', 'abc…')
    """
    shown = "".join("\ufffd" if "\ud800" <= c <= "\udfff" or (c < " " and c not in "\n\t") else c for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _facts(report: Report) -> list[tuple[str, str, str]]:
    """The numbers of the candidate to ship that a reader asks for first: what, value, and what is behind it."""
    entry = report.entry(report.verdict.ship)
    accuracy, cost = metric("accuracy", entry.test["accuracy"]), entry.cost
    facts = [("to ship", entry.name, entry.about)]
    if entry.priced:
        spent = cost_a_row(entry)
        facts.append(("a row costs on test", spent.value, f"95 % interval {spent.about}, at the recipe's prices"))
    facts.append(("accuracy on test", f"{accuracy.value} %", f"95 % interval {accuracy.about}"))
    if entry.ms:
        how = "mean" if cost.get("ms_mean") else "median"
        facts.append(("a row", f"{milliseconds(entry.ms)} ms", f"one at a time, {how}"))
    if cost.get("size_bytes"):
        facts.append(("on disk", megabytes(cost["size_bytes"]), "base model or encoder included"))
    if "ece" in entry.test:
        facts.append(("calibration error", f"{metric('ece', entry.test['ece']).value} %", "ECE after calibration"))
    return facts


def _set_in_type(text: str) -> str:
    """A number stays on a line with its unit."""
    return re.sub(r"(?<=[\d\]]) (?=(?:%|ms|MB|kB)(?!\w))", "\u00a0", text).replace(">=", "≥")
