"""The comparison as files: ``report.json`` (schema in docs/report.schema.json), ``report.md`` and ``rows.jsonl``.

Writes what the leaderboard found, in numbers and in words. Each file is renamed into place.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwright.bundle import Bundle
from labelwright.intervals import Interval
from labelwright.metrics import confusion, ece_floor, per_label
from labelwright.task import Example
from workbench.leaderboard import QUALITY, Leaderboard, Line, percent
from workbench.progress import duration

FORMAT = "labelwright-report-1"
_LEGEND = """In brackets: 95 % bootstrap intervals over groups. p vs best: exact paired test against the best row, whole
groups exchanged, Holm-corrected over the rows tested. Baselines learn from train alone, as the model's stages do. Valid
labels: share of answers that are a label when the model may write anything. Size counts the base model. Trained:
seconds of fitting, or of all stages up to the row."""
_PERCENT = ("accuracy", "macro_f1", "ece", "valid_labels")


def report_json(
    board: Leaderboard,
    *,
    run: Mapping[str, Any],
    splits: Mapping[str, Any],
    labels: Sequence[str],
    stages: Sequence[Any],
) -> dict[str, Any]:
    """The report as a JSON value. ``run`` says recipe, folder, command and machine."""
    verdict = board.verdict
    return {
        "format": FORMAT,
        **run,
        "verdict": {
            "text": verdict.text,
            "best": verdict.best,
            "tuned": verdict.tuned,
            "best_baseline": verdict.best_baseline,
            "difference": _interval(verdict.difference),
            "p_value": verdict.p_value,
        },
        "splits": dict(splits),
        "labels": list(labels),
        "rungs": [_rung_json(line) for line in board.lines],
        "stages": list(stages),
    }


def rows_jsonl(board: Leaderboard, test: Sequence[Example], labels: Sequence[str]) -> str:
    """One line a test row: id, text, label, and every rung's label and probabilities."""
    lines = []
    for i, row in enumerate(test):
        answers = {}
        for line in board.lines:
            if not line.rung.failed:
                probs = line.rung.probs[i]
                by_label = {name: round(float(p), 6) for name, p in zip(labels, probs, strict=True)}
                answers[line.rung.name] = {"label": labels[int(probs.argmax())], "probabilities": by_label}
        value = {"id": row.id, "text": row.text, "label": row.label, "group": row.group, "rungs": answers}
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def table(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The leaderboard as text: column names and one list of cells a rung."""
    columns = [
        "rung", "accuracy %", "macro-F1 %", "log loss", "Brier", "ECE %", "valid labels %", "ms/row", "rows/s", "size",
        "trained", "prompt tokens", "p vs best",
    ]  # fmt: skip
    rows = []
    for rung in report["rungs"]:
        if rung["failed"]:
            rows.append([rung["name"], *["–"] * (len(columns) - 1)])
            continue
        test, cost = rung["test"], rung["cost"]
        against = rung["against_best"]
        rows.append(
            [
                rung["name"],
                *[_cell(name, test[name]) for name in (*QUALITY, "valid_labels")],
                _number(cost["ms_per_row"], "{:.2g}" if cost["ms_per_row"] < 10 else "{:.0f}"),
                _number(cost["rows_per_second"], "{:.0f}"),
                megabytes(cost["size_bytes"]),
                duration(cost["seconds_to_train"]),
                _number(cost["prompt_tokens"], "{:.0f}"),
                "best" if against is None else f"{against['p_holm']:.2g}",
            ]
        )
    return columns, rows


def report_markdown(
    report: Mapping[str, Any], board: Leaderboard, test: Sequence[Example], bundle: Bundle, curves: Mapping[str, Any]
) -> str:
    """The report in words; its first line is the verdict."""
    columns, rows = table(report)
    splits = report["splits"]
    parts = [
        report["verdict"]["text"],
        f"# {report['recipe']}, run {report['run']}",
        f"Rows: train {splits['train']}, dev {splits['dev']}, calib {splits['calib']}, test {splits['test']}; "
        f"{splits['n_labels']} labels; split digest {splits['digest']}. "
        f"Made by `{report['command']}` on {report['machine']}.",
        "## Leaderboard, on the test split",
        _markdown_table(columns, rows),
        _LEGEND,
        *_failed(board),
        "![accuracy](plots/accuracy.png) ![reliability](plots/reliability.png) "
        "![risk and coverage](plots/risk-coverage.png)" + (" ![curves](plots/curves.png)" if curves else ""),
        "## Paired tests against the best row",
        _paired(report),
        "## Stages",
        _stages(report, curves),
    ]
    tuned = report["verdict"]["tuned"]
    if tuned:
        parts += [f"## Labels, by {tuned}", *_labels(board.line(tuned), board, report["labels"])]
        parts += ["## The prompt", "```\n" + bundle.prompt.system + "\n```"]
    return "\n\n".join([*parts, "## Limits", _limits(report, board, test)]) + "\n"


def machine() -> str:
    """What ran this: processor, cores, memory, accelerator if there is one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    text = f"{system}, Python {platform.python_version()}"
    import torch

    return f"{text}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else text


def megabytes(n_bytes: float | None) -> str:
    """Bytes as people say them.

    >>> megabytes(1_234), megabytes(270_000_000), megabytes(None)
    ('1.2 kB', '270 MB', '–')
    """
    if n_bytes is None:
        return "–"
    if n_bytes < 1e6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e7 else f"{n_bytes / 1e6:.0f} MB"


def wilson(share: float, n: int) -> Interval:
    """95 % interval of a share (Wilson 1927), for the few rows that are generated freely."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def _rung_json(line: Line) -> dict[str, Any]:
    rung = line.rung
    value: dict[str, Any] = {"name": rung.name, "kind": rung.kind, "step": rung.step, "failed": rung.failed or None}
    if rung.failed:
        return {**value, "test": {}, "against_best": None, "free_generation": None, "cost": {}}
    test = {name: _interval(interval) for name, interval in line.test.items()}
    generation = dict(rung.generation) or None
    test["valid_labels"] = _interval(wilson(generation["valid"], int(generation["n_rows"]))) if generation else None
    against = line.against_best
    return {
        **value,
        "test": test,
        "against_best": against
        and {
            "n_only_this": against.n_only_a,
            "n_only_best": against.n_only_b,
            "p_value": against.p_value,
            "p_holm": line.p_holm,
            "difference": _interval(against.difference),
        },
        "free_generation": generation,
        "cost": dict(rung.cost),
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}


def _cell(name: str, one: Mapping[str, float] | None) -> str:
    if one is None:
        return "–"
    if name in _PERCENT:
        return percent(Interval(one["value"], one["low"], one["high"]))
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def _failed(board: Leaderboard) -> list[str]:
    return [f"{line.rung.name} is left out: {line.rung.failed}" for line in board.lines if line.rung.failed]


def _paired(report: Mapping[str, Any]) -> str:
    best, rows = report["verdict"]["best"], []
    for rung in report["rungs"]:
        test = rung["against_best"]
        if test:
            difference = percent(Interval(**test["difference"]), signed=True)
            counts = [str(test["n_only_this"]), str(test["n_only_best"])]
            rows.append([rung["name"], difference, *counts, f"{test['p_value']:.2g}", f"{test['p_holm']:.2g}"])
    columns = ["rung", f"accuracy minus {best}'s, points", "only it right", f"only {best} right", "p", "p, Holm"]
    return _markdown_table(columns, rows)


def _stages(report: Mapping[str, Any], curves: Mapping[str, Any]) -> str:
    """What every stage decided, on which numbers, and its curve's beginning and end."""
    parts = []
    for stage in report["stages"]:
        dev = ", ".join(f"{key} {value:.3f}" for key, value in stage["dev"].items())
        peak = megabytes(stage["peak_memory_bytes"])
        lines = [f"- **{stage['folder']}**: {duration(stage['seconds'])}, peak memory {peak}; dev: {dev}"]
        for key, value in stage["decided"].items():
            told = _told(value)
            if told and key != "stage":
                lines.append(f"  - {key}: {told}")
        for key, points in curves.get(stage["folder"], {}).items():
            (first, begun), (last, ended) = points[0], points[-1]
            lines.append(f"  - curve {key}: {begun:.3f} at step {first}, {ended:.3f} at step {last}")
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _told(value: Any) -> str:
    """A short value as text, a mapping of numbers as a list of them; empty for what belongs in report.json alone."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and value and all(isinstance(one, (int, float)) for one in value.values()):
        return ", ".join(f"{name} {one:.4g}" for name, one in value.items())
    return str(value) if isinstance(value, (str, int, bool)) and len(str(value)) < 200 else ""


def _labels(line: Line, board: Leaderboard, labels: Sequence[str]) -> list[str]:
    rows = [
        [one["label"], str(one["n_rows"]), *(f"{100 * one[key]:.0f}" for key in ("precision", "recall", "f1"))]
        for one in sorted(per_label(line.rung.probs, board.gold, labels), key=lambda one: one["f1"])
    ]
    counts = confusion(line.rung.probs, board.gold)
    np.fill_diagonal(counts, 0)
    pairs = sorted(zip(*np.nonzero(counts), strict=True), key=lambda pair: -counts[pair])[:10]
    confused = ", ".join(f"{labels[i]} taken for {labels[j]} ({counts[i, j]})" for i, j in pairs)
    return [
        _markdown_table(["label", "rows", "precision %", "recall %", "F1 %"], rows),
        f"Most confused: {confused}." if confused else "No row is confused.",
    ]


def _remarks(report: Mapping[str, Any], test: Sequence[Example]) -> list[str]:
    """What is particular about how some rungs answered."""
    remarks = []
    if any(row.choices for row in test):
        remarks.append(
            "Rows bring their own choices: labels here are the letters before them, so macro-F1 and the tables of "
            "labels speak of positions. What is uneven there is a liking for a place."
        )
    for rung in report["rungs"]:
        name, cost = rung["name"], rung["cost"]
        if cost.get("scorings_shortened"):
            remarks.append(
                f"{name}: rows were shortened to fit the context, {cost['scorings_shortened']:.0f} scorings."
            )
        if cost.get("has_probabilities") == 0:
            remarks.append(f"{name}: its engine gives no probabilities; log loss, Brier and ECE are those of a guess.")
        if cost.get("thinking_tokens_mean"):
            remarks.append(
                f"{name}: thought {cost['thinking_tokens_mean']:.0f} tokens a row; "
                f"{100 * cost['thoughts_cut_share']:.0f} % of the thoughts were cut by the budget."
            )
    return remarks


def _limits(report: Mapping[str, Any], board: Leaderboard, test: Sequence[Example]) -> str:
    floor = f"{100 * ece_floor(board.line(report['verdict']['best']).rung.probs):.1f}"
    n_groups = len({row.group or row.id for row in test})
    return "\n".join(
        [
            f"- {len(test)} test rows in {n_groups} groups, one split, one seed: intervals cover the rows that were "
            "drawn, not another split, another seed of training, or rows of another kind.",
            "- The best row is the best on these test rows: its own value flatters it a little, and the paired tests "
            "against it share that.",
            f"- ECE on few rows is biased upwards: the best row's confidences, exactly right, would show {floor} % "
            "on average. Speeds are this machine's, with whatever else ran on it.",
            f"- The test split was read by `{report['command']}` alone; choosing again after reading it spends it.",
            *(f"- {remark}" for remark in _remarks(report, test)),
        ]
    )
