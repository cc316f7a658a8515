"""What the tables of the page hold: every cell as text, in the page's order. No markup is made here.

Called by ``workbench.report.html``; what a cell looks like is the template's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from labelwright.data.task import Example
from labelwright.statistics.intervals import Interval, wilson
from labelwright.statistics.metrics import answers, confusion, per_label
from workbench.compare.board import QUALITY, Difference, Leaderboard, Line
from workbench.progress import duration
from workbench.report.wording import megabytes, milliseconds, p_value

DASH = "–"
N_MISTAKES = 20
_BEFORE = ("accuracy", "log_loss", "ece")
_PERCENT = ("accuracy", "macro_f1", "ece", "valid")
_LONGEST_TEXT = 600


class Cell(NamedTuple):
    """A value, and its 95 % interval or spread behind it; both as text."""

    value: str
    about: str = ""


def clean(text: str, longest: int = _LONGEST_TEXT) -> str:
    """User text as a page can hold it: no lone surrogates, no control characters, cut where it is very long.

    >>> clean("a\\x00b\\ud800c"), clean("abcdef", 4)
    ('a\ufffdb\ufffdc', 'abc…')
    """
    shown = "".join("\ufffd" if "\ud800" <= c <= "\udfff" or (c < " " and c not in "\n\t") else c for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def leaderboard(board: Leaderboard) -> list[dict[str, Any]]:
    """One entry a candidate: name, kind, about, badges, failed, and the cells of the table."""
    return [
        {
            **heading(line, board),
            "about": line.candidate.about,
            "failed": line.candidate.failed,
            "cells": [_metric(line.test, name) for name in QUALITY],
            "valid": _valid_labels(line),
            "standing": Cell(line.standing, _p_against_best(line)),
            "before": [_metric(line.raw, name) for name in _BEFORE],
        }
        for line in board.lines
    ]


def heading(line: Line, board: Leaderboard) -> dict[str, Any]:
    """What stands at the beginning of a candidate's row."""
    verdict, name = board.verdict, line.candidate.name
    badges = [
        ("best", name == verdict.best), ("ship this", name == verdict.ship), ("tuned", name == verdict.tuned),
        ("as good", line.standing == "as good"), ("not told apart", line.standing == "not told apart"),
    ]  # fmt: skip
    return {"name": name, "kind": line.candidate.kind, "about": "", "badges": [badge for badge, true in badges if true]}


def costs(board: Leaderboard) -> list[dict[str, Any]]:
    """One entry a scored candidate: accuracy, time, size, memory, training, prompt."""
    rows = []
    for line in _scored(board):
        cost = line.candidate.cost
        trained = cost.get("seconds_to_train")
        cells = [
            f"{100 * line.test['accuracy'].value:.1f}",
            milliseconds(cost.get("ms_p50")),
            milliseconds(cost.get("ms_p95")),
            _number(cost.get("rows_per_second"), "{:,.0f}" if (cost.get("rows_per_second") or 0) >= 10 else "{:.1f}"),
            megabytes(cost.get("size_bytes")),
            megabytes(cost.get("peak_memory_bytes")),
            DASH if trained is None else duration(trained),
            _number(cost.get("prompt_tokens"), "{:,.0f}"),
        ]
        rows.append({**heading(line, board), "cells": cells, "frontier": line.candidate.name in board.frontier})
    return rows


def paired(board: Leaderboard) -> list[dict[str, Any]]:
    """One entry a candidate tested against the best one: differences with intervals, p-values, discordant rows."""
    rows = []
    for line in _scored(board):
        found = line.against_best
        if found:
            cells = [*_difference(found.get("accuracy"), 100, 1), *_difference(found.get("macro_f1"), 100, 1)]
            cells += _difference(found.get("log_loss"), 1, 3)
            counts = [Cell(_number(n, "{:d}")) for n in (line.n_only_this, line.n_only_best)]
            rows.append({**heading(line, board), "cells": cells + counts})
    return rows


def spreads(board: Leaderboard) -> list[dict[str, Any]]:
    """One entry a candidate that was trained more than once."""
    rows = []
    for line in _scored(board):
        if line.spread:
            cells = []
            for key in ("split fixed", "split varied"):
                spread = line.spread.get(key)
                cells.append(Cell(str(spread.n) if spread else DASH))
                for name, scale, digits in (("accuracy", 100, 1), ("macro_f1", 100, 1), ("log_loss", 1, 3)):
                    if spread:
                        mean, sd = scale * spread.mean[name], scale * spread.sd[name]
                        cells.append(Cell(f"{mean:.{digits}f}", f"± {sd:.{digits}f}"))
                    else:
                        cells.append(Cell(DASH))
            rows.append({**heading(line, board), "cells": cells})
    return rows


def learning(board: Leaderboard) -> tuple[list[str], list[dict[str, Any]]]:
    """The learning curves as a table: columns, and one entry a candidate with the seeds' mean accuracy and range."""
    lines = [line for line in _scored(board) if any(point.per_label > 0 for point in line.candidate.curve)]
    sizes = {point.per_label for line in lines for point in line.candidate.curve}
    order = [*sorted(sizes - {0}), *([0] if 0 in sizes else [])]
    rows = []
    for line in lines:
        cells = []
        for size in order:
            found = [100 * point.accuracy for point in line.candidate.curve if point.per_label == size]
            about = f"{min(found):.1f}–{max(found):.1f}" if len(found) > 1 else ""
            cells.append(Cell(f"{np.mean(found):.1f}", about) if found else Cell(DASH))
        rows.append({**heading(line, board), "cells": cells})
    return [str(size) if size else "all" for size in order], rows


def out_of_scope(board: Leaderboard) -> list[dict[str, Any]]:
    """One entry a candidate whose confidence was tried on rows that have no right label."""
    return [
        {
            **heading(line, board),
            "cells": [
                f"{line.candidate.outside['auroc']:.3f}",
                f"{100 * line.candidate.outside['accepted']:.1f}",
                f"{line.candidate.outside['n_rows']:.0f}",
            ],
        }
        for line in _scored(board)
        if line.candidate.outside
    ]


def calibrations(board: Leaderboard) -> list[dict[str, Any]]:
    """One entry a candidate with probabilities: what calibration did, and its log loss on the calib rows."""
    rows = []
    for line in _scored(board):
        found = line.candidate.calibration
        if line.candidate.kind != "free" and found:
            cells = [str(found.get("variant", DASH))]
            cells += [
                _number(found.get(name), "{:.3f}") for name in ("temperature", "log_loss_before", "log_loss_after")
            ]
            rows.append({**heading(line, board), "cells": cells})
    return rows


def labels_of(line: Line, board: Leaderboard, labels: Sequence[str]) -> dict[str, Any]:
    """A candidate by label, worst first, and the pairs it confuses most."""
    names = [*labels, *["no label"] * (line.candidate.probs.shape[1] - len(labels))]
    rows = [
        {"label": one["label"], "cells": [str(one["n_rows"]), str(one["n_predicted"])]
         + [f"{100 * one[key]:.0f}" for key in ("precision", "recall", "f1")]}
        for one in sorted(per_label(line.candidate.probs, board.gold, names), key=lambda one: one["f1"])
        if one["n_rows"] or one["n_predicted"]
    ]  # fmt: skip
    counts = confusion(line.candidate.probs, board.gold)
    np.fill_diagonal(counts, 0)
    pairs = sorted(zip(*np.nonzero(counts), strict=True), key=lambda pair: -counts[pair])[:10]
    # Of many single mistakes none is more telling than the others.
    least = 1 if counts.sum() <= len(pairs) else 2
    confused = [
        {"label": names[i], "answer": names[j], "n": int(counts[i, j])} for i, j in pairs if counts[i, j] >= least
    ]
    return {"name": line.candidate.name, "rows": rows, "confused": confused, "n_wrong": int(counts.sum())}


def mistakes(
    line: Line, board: Leaderboard, test: Sequence[Example], labels: Sequence[str]
) -> tuple[str, int, list[dict[str, str]]]:
    """The candidate, how many answers are wrong, and the most confident of those, surest first."""
    # The last one for rows without an answer, whose position is -1.
    names = [*labels, *["no label"] * (line.candidate.probs.shape[1] - len(labels)), "no answer"]
    said, confidence = answers(line.candidate.probs), line.candidate.probs.max(axis=1)
    wrong = np.flatnonzero(said != board.gold)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:N_MISTAKES]
    rows = [
        {
            "id": clean(test[i].id, 60),
            "text": clean(test[i].text),
            "label": test[i].label,
            "answer": names[said[i]],
            "confidence": f"{100 * confidence[i]:.1f} %",
        }
        for i in surest
    ]
    return line.candidate.name, len(wrong), rows


def stages(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What every stage decided: short values as a list, long ones (prompts, tables) to be folded."""
    found = []
    for stage in report["stages"]:
        decided = {key: told(value) for key, value in stage["decided"].items() if key != "stage"}
        peak = stage.get("peak_memory_bytes")
        found.append(
            {
                "folder": stage["folder"],
                "stage": stage["stage"],
                "seconds": duration(stage["seconds"]),
                "peak": megabytes(peak) if peak else "",
                "dev": [(key, f"{value:.3f}") for key, value in stage["dev"].items()],
                "short": [(key, text) for key, text in decided.items() if len(text) <= 120 and "\n" not in text],
                "long": [(key, text) for key, text in decided.items() if len(text) > 120 or "\n" in text],
            }
        )
    return found


def told(value: Any) -> str:
    """A value from a stage's history as text.

    >>> told(0.123456), told({"a": 1, "b": 0.5}), told(["x", "y"]), told(None)
    ('0.1235', 'a 1, b 0.5', 'x, y', '–')
    """
    if value is None or value == "" or value == [] or value == {}:
        return DASH
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        flat = all(not isinstance(one, (Mapping, list, tuple)) for one in value.values())
        return (", " if flat else "\n").join(f"{key} {told(one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        flat = all(not isinstance(one, (Mapping, list, tuple)) for one in value)
        return (", " if flat else "\n").join(told(one) for one in value)
    return clean(str(value), 8000)


def percent_points(interval: Interval) -> Cell:
    """A share as percent, with its interval."""
    value, low, high = (100 * one for one in interval)
    return Cell(f"{value:.1f}", f"{low:.1f}–{high:.1f}")


def signed(interval: Interval, scale: float, digits: int) -> Cell:
    """A difference with its interval, every number with its sign."""
    value, low, high = (f"{scale * one:+.{digits}f}".replace("-", "−") for one in interval)
    return Cell(value, f"{low} to {high}")


def _scored(board: Leaderboard) -> list[Line]:
    return [line for line in board.lines if not line.candidate.failed]


def _metric(metrics: Mapping[str, Interval], name: str) -> Cell:
    if name not in metrics:
        return Cell(DASH)
    if name in _PERCENT:
        return percent_points(metrics[name])
    value, low, high = metrics[name]
    return Cell(f"{value:.3f}", f"{low:.3f}–{high:.3f}")


def _valid_labels(line: Line) -> Cell:
    """Share of freely written answers that are a label."""
    candidate = line.candidate
    if candidate.kind == "free" and candidate.probs.size:
        return percent_points(wilson(1 - float(candidate.probs[:, -1].mean()), len(candidate.probs)))
    if not candidate.generation:
        return Cell(DASH)
    return percent_points(wilson(candidate.generation["valid"], int(candidate.generation["n_rows"])))


def _p_against_best(line: Line) -> str:
    return f"p {p_value(line.against_best['accuracy'].p_holm)}" if line.against_best else ""


def _difference(found: Difference | None, scale: float, digits: int) -> list[Cell]:
    """The difference with its interval, its p-value, and that corrected."""
    if found is None:
        return [Cell(DASH)] * 3
    return [signed(found.value, scale, digits), Cell(p_value(found.p_value)), Cell(p_value(found.p_holm))]


def _number(value: float | None, form: str) -> str:
    return DASH if value is None else form.format(value)
