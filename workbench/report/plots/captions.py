"""Which pictures a report has, and what is said of each; drawn by ``workbench.report.plots.figures``."""

from __future__ import annotations

from typing import NamedTuple

from workbench.report.report import Report
from workbench.wording import price

# Of more labels only those most often mistaken are drawn: a thousand would be a picture of 19,000 dots square.
MOST_LABELS = 80


class Picture(NamedTuple):
    """What a picture is called, what is said below it, and what it shows, for those who do not see it."""

    title: str
    caption: str
    told: str


def pictures(report: Report) -> dict[str, Picture]:
    """The pictures that this report has something to show in, in its order."""
    verdict, n_labels = report.verdict, len(report.labels)
    best, lowest = report.entry(verdict.best), min(report.scored, key=lambda entry: entry.merit(report.by))
    some = f"the {MOST_LABELS} most mistaken of {n_labels} labels" if n_labels > MOST_LABELS else f"{n_labels} labels"
    squares = f"{some} by answer; green squares are right answers, red ones mistakes, listed in the tables below"
    confusion = "Right labels in rows, answers in columns. Green: right answers, the deeper the larger their share. "
    confusion += "Red: mistakes."
    found = {
        "accuracy": Picture(
            "accuracy",
            "Accuracy of every candidate with its 95 % interval, in the comparison's order. Whether another candidate "
            "is as good as the best or worse, the paired intervals below decide, not the picture.",
            f"Test accuracy of {len(report.scored)} candidates with 95 % intervals, from {lowest.accuracy:.1f} % "
            f"({lowest.name}) to {best.accuracy:.1f} % ({best.name}); the table above has the numbers.",
        ),
        "cost": Picture(
            "accuracy against milliseconds a row",
            "Up and to the left is better. The line is the efficient frontier: candidates that no other beats in both "
            "accuracy and time a row.",
            "Test accuracy against milliseconds a row. On the efficient frontier, from fast to slow: "
            f"{', '.join(report.frontier) or 'not known'}.",
        ),
        "money": Picture(
            "accuracy against money",
            "Up and to the left is better. Lines: the rows that a candidate is least sure of go to a person, who is "
            "taken to be right, from none of them to all.",
            "Accuracy on test against the money of 1,000 rows; the tables beside it have the numbers.",
        ),
        "cascade": Picture(
            "the cheapest first",
            "On calib, which chose: what chains of candidates and their thresholds reach that no other beats in both "
            "accuracy and time. On test: the cascade that was chosen, and the candidate that it stands in for.",
            "Accuracy against mean milliseconds a row over the thresholds of cascades.",
        ),
        "learning-curve": Picture(
            "learning curves",
            "Before calibration. Bands or whiskers: lowest and highest of the seeds. Dotted: candidates that learn "
            "nothing from training rows.",
            "Test accuracy against training rows a label; the numbers are in the table below.",
        ),
        "confusion-shipped": Picture(
            "confusion of the shipped candidate", confusion, f"Confusion of {verdict.ship}: {squares}."
        ),
        "confusion": Picture("confusion of the best candidate", confusion, f"Confusion of {verdict.best}: {squares}."),
        "reliability": Picture(
            "reliability",
            "On the diagonal, confidence is the share that is right. The larger a mark, the more rows it stands for; a "
            "bin of few rows has a long interval and says little.",
            "Accuracy against mean confidence in ten bins, before and after calibration.",
        ),
        "risk-bound": Picture(
            "what the shipped candidate may answer",
            "Errors on test rows, and the bound that calib rows give. The promise goes down the thresholds as long as "
            "each passes by itself; the horizontal line is the error that is allowed.",
            f"Wrong answers of {verdict.ship} against the share of rows answered, with the bound from calib rows.",
        ),
        "risk-coverage": Picture(
            "risk and coverage",
            "What is gained by answering only where the candidate is sure, and leaving the rest to a person.",
            "Share of wrong answers against the share of rows answered, most confident first.",
        ),
        "curves": Picture(
            "the stages' curves",
            "Dev accuracy and rewards by step.",
            "Training curves of the stages: dev accuracy and rewards by step.",
        ),
    }
    if report.by == "cost":
        found["accuracy"] = Picture(
            "what a row costs",
            "Mean cost of a test row of every candidate, at the recipe's prices, with its 95 % interval, in the "
            "comparison's order. Whether another candidate is as good as the best or worse, the paired intervals below "
            "decide, not the picture.",
            f"Cost of a test row of {len(report.scored)} candidates with 95 % intervals, from "
            f"{price(best.score('cost').value)} ({best.name}) to {price(lowest.score('cost').value)} ({lowest.name}); "
            "the table above has the numbers.",
        )
        found["cost"] = Picture(
            "what a row costs against its milliseconds",
            "Down and to the left is better. The line is the efficient frontier: candidates that no other beats in "
            "both cost and time a row.",
            "Cost of a test row against milliseconds a row. On the efficient frontier, from fast to slow: "
            f"{', '.join(report.frontier) or 'not known'}.",
        )
    there = {
        "cost": any(entry.ms for entry in report.scored),
        "money": any(entry.name in report.money for entry in report.scored),
        "learning-curve": any(point.per_label for entry in report.scored for point in entry.curve),
        "confusion-shipped": verdict.ship != verdict.best,
        "cascade": any(entry.together and entry.together.curve for entry in report.scored),
        "reliability": bool(report.confidence),
        "risk-bound": _has_bound(report),
        "risk-coverage": bool(report.confidence),
        "curves": bool(report.curves),
    }
    return {name: picture for name, picture in found.items() if there.get(name, True)}


def _has_bound(report: Report) -> bool:
    ships = report.entry(report.verdict.ship).promised
    return ships is not None and bool(ships.bound) and report.verdict.ship in report.confidence
