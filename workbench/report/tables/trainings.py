"""What other trainings of the same candidate reach: on fewer rows, with other seeds or settings, on other splits."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

from workbench.compare.board import Spread
from workbench.compare.differences import TESTED
from workbench.compare.searched.found import Searched, Trial
from workbench.progress import duration
from workbench.recipe.beside.synthetic import LEFT_OUT
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, METRICS, NOTHING, Cell, Column, Table, metric
from workbench.wording import listed

_OF_SYNTHETIC = (
    "What rows bring that a model wrote, by how many a label are learnt beside all train rows: test accuracy in "
    "percent, before calibration."
)
_WRITTEN = (
    "Mean over seeds ± standard deviation, number of them in brackets; the difference is of calibrated accuracy, in "
    "points, paired, with a 95 % interval of its own."
)
_SOUGHT = (
    "Dev chose the settings, so what dev says of them flatters them; the difference is of accuracy on test, in points, "
    "paired, with a 95 % interval of its own."
)
# Trials of a search up to which all are shown; of longer ones those that were the best so far.
_MOST_TRIALS = 60
_DIFFERS = {"split fixed": "seed of training", "split varied": "split"}


def learning(report: Report) -> list[Table]:
    """Accuracy by training rows a label, of candidates that were shown part of the rows."""
    entries = [one for one in report.scored if any(p.per_label for p in one.curve) and not one.augmented]
    # 0 stands for all rows, so it comes last.
    sizes = sorted({point.per_label for entry in entries for point in entry.curve}, key=lambda n: (n == 0, n))
    rows = [
        [Cell(entry.name), *(_mean([100 * p.accuracy for p in entry.curve if p.per_label == size]) for size in sizes)]
        for entry in entries
    ]
    return [
        Table(
            "learning",
            "Learning curves",
            [CANDIDATE, *(Column(str(size) if size else "all") for size in sizes)],
            rows,
            about="What fewer labelled rows would have given: test accuracy in percent, before calibration, of a "
            "candidate that was shown at most so many training rows a label.",
            remarks=["Mean over draws of the rows, ± their standard deviation, number of draws in brackets."],
            plots=["learning-curve"],
            is_folded=True,
        )
    ]


def synthetic(report: Report) -> list[Table]:
    """Accuracy by synthetic rows a label, of candidates that learnt them, and what they bring."""
    found = [(entry, entry.augmented) for entry in report.scored if entry.augmented]
    sizes = sorted({point.per_label for entry, _ in found for point in entry.curve}, key=lambda n: (n == 0, n))
    rows = [
        [
            Cell(entry.name),
            Cell(f"{one.learnt.n_rows:,}"),
            _mean([100 * accuracy for accuracy in one.learnt.without]),
            *(_mean([100 * p.accuracy for p in entry.curve if p.per_label == size]) for size in sizes),
            metric("accuracy", one.to_plain, signed=True),
        ]
        for entry, one in found
    ]
    columns = [CANDIDATE, Column("synthetic rows"), Column("none"), *(Column(str(n) if n else "all") for n in sizes)]
    remarks = [_WRITTEN] if rows else []
    for _, one in found[:1]:  # all of them learnt the same file
        learnt, left = one.learnt, ", ".join(f"{n:,} {LEFT_OUT[why]}" for why, n in one.learnt.left_out.items() if n)
        said = f"Written by {listed(learnt.models)}; a second answer gave the same label to {learnt.n_checked:,}."
        remarks.append(said + (f" Left out of the file: {left}." if left else ""))
    columns.append(Column("all against none"))
    return [Table("synthetic", "Synthetic rows", columns, rows, remarks=remarks, about=_OF_SYNTHETIC if rows else "")]


def searches(report: Report) -> list[Table]:
    """What every search of settings found, what that brings on test, and its trials."""
    found = [(entry, entry.sought) for entry in report.scored if entry.sought]
    columns = [CANDIDATE, Column("settings found", "text"), Column("dev %"), Column("dev % as it is")]
    columns += [Column("dev log loss"), Column("as it is"), Column("trials"), Column("took"), Column("on test")]
    rows = [
        [
            Cell(entry.name),
            Cell(_settings(best.settings)),
            metric("accuracy", best.accuracy),
            metric("accuracy", one.found.plain.accuracy),
            _loss(best),
            _loss(one.found.plain),
            Cell(str(len(one.found.trials)), f"{one.found.n_given_up} given up" if one.found.n_given_up else ""),
            Cell(duration(one.found.seconds)),
            metric("accuracy", one.to_plain, signed=True),
        ]
        for entry, one in found
        for best in [one.found.trials[one.found.best]]
    ]
    remarks = [_SOUGHT] if rows else []
    for entry, one in found:
        within = "; ".join(f"{key}: {told}" for key, told in one.found.space.items())
        what = f"{one.found.by.replace('_', ' ')} on {one.found.n_dev:,} dev rows"
        worse = "" if one.found.is_better_on_dev else " No trial was better on dev than the candidate as it is."
        remarks.append(f"{entry.name}: chosen by {what}, within {within}.{_given_up(one.found)}{worse}")
    return [
        Table("search", "Searched settings", columns, rows, remarks=remarks),
        *(_trials(entry.name, one.found) for entry, one in found),
    ]


def _given_up(found: Searched) -> str:
    """How trials ended that did not learn all train rows; nothing where nobody asked for it."""
    if not any(trial.way for trial in found.trials):
        return ""
    return (
        f" {found.n_given_up:,} of {len(found.trials):,} trials were given up: having learnt a share of train, they "
        "were worse there than the median of those before."
    )


def _trials(name: str, found: Searched) -> Table:
    """A search's trials in their order, the candidate as it is before them."""
    records, is_long = found.records(), len(found.trials) > _MOST_TRIALS
    rows = [[Cell("as it is"), NOTHING, metric("accuracy", found.plain.accuracy), _loss(found.plain), NOTHING]]
    for number, trial in enumerate(found.trials):
        if is_long and number not in records:
            continue
        said = "best" if number in records else ""
        if trial.is_given_up:
            said = f"given up at {100 * trial.share:g} % of train"
        rows.append(
            [
                Cell(str(number + 1)),
                Cell(_settings(trial.settings), trial.failed),
                metric("accuracy", trial.accuracy),
                _loss(trial),
                Cell(said) if said else NOTHING,
            ]
        )
    columns = [
        Column("trial"),
        Column("settings", "long"),
        Column("dev %"),
        Column("dev log loss"),
        Column("so far", "words"),
    ]
    remarks = [f"Of {len(found.trials):,} trials those that were the best so far."] if is_long else []
    return Table("search", "Searched settings", columns, rows, of=name, remarks=remarks, is_folded=True)


def _settings(settings: Mapping[str, Any]) -> str:
    """``key = value``, numbers to three digits."""
    return ", ".join(f"{key} = {_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _loss(trial: Trial) -> Cell:
    return NOTHING if trial.log_loss is None else Cell(f"{trial.log_loss:.3f}")


def seeds(report: Report) -> list[Table]:
    """Mean and deviation over other seeds and other splits."""
    rows = [
        [Cell(entry.name), Cell(_DIFFERS[side]), Cell(str(one.n)), *(_spread(one, name) for name in TESTED)]
        for entry in report.scored
        for side, one in entry.spread.items()
    ]
    columns = [CANDIDATE, Column("what differs", "words"), Column("trainings")]
    return [
        Table(
            "seeds",
            "Other seeds, other splits",
            [*columns, *(Column(METRICS[name].title) for name in TESTED)],
            rows,
            about="How much of a difference is the draw of the training, and how much the draw of the rows.",
            remarks=["Mean ± standard deviation over the trainings, the candidate itself being one of them."],
            nothing="Every candidate was trained once: nothing is known of other seeds or splits.",
        )
    ]


def _mean(values: list[float]) -> Cell:
    if len(values) < 2:
        return Cell(f"{values[0]:.1f}") if values else NOTHING
    return Cell(f"{mean(values):.1f}", f"± {stdev(values):.1f} ({len(values)})")


def _spread(one: Spread, name: str) -> Cell:
    if name not in one.mean:
        return NOTHING
    scale, digits = (100, 1) if METRICS[name].is_share else (1, 3)
    return Cell(f"{scale * one.mean[name]:.{digits}f}", f"± {scale * one.sd[name]:.{digits}f}")
