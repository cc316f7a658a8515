"""The tables of ``report.md`` below its leaderboard, each made of what ``report.json`` holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from labelwright.plain_text import escaped
from labelwright.statistics.intervals import Interval
from workbench.compare.board import QUALITY
from workbench.progress import duration
from workbench.report.wording import decimals, listed, megabytes, milliseconds, p_value, percent

TITLES = {"accuracy": "accuracy %", "macro_f1": "macro-F1 %", "log_loss": "log loss", "brier": "Brier", "ece": "ECE %"}
_PERCENT = ("accuracy", "macro_f1", "ece")


def section(title: str, body: str, *remarks: str) -> list[str]:
    """A heading, what is below it and remarks; nothing where there is no body."""
    return [f"## {title}", body, *(remark for remark in remarks if remark)] if body else []


def scored(report: Mapping[str, Any]) -> list[Any]:
    """The candidates that have numbers."""
    return [candidate for candidate in report["candidates"] if not candidate["failed"]]


def interval(one: Mapping[str, float]) -> Interval:
    """An interval as it was before it was JSON."""
    return Interval(**one)


def cell(metric: str, one: Mapping[str, float] | None, signed: bool = False) -> str:
    """A metric with its interval, as percent where it is a share."""
    if one is None:
        return "–"
    return (percent if metric in _PERCENT else decimals)(interval(one), signed)


def number(value: float | None, form: str) -> str:
    """A number that may be missing."""
    return "–" if value is None else form.format(value)


def told(sentences: str) -> str:
    """Our own sentences, with labels quoted in them, as a paragraph: markup in a label stays text."""
    return re.sub(r'"[^"]*"', lambda found: escaped(found.group()), sentences)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first cell of a row is escaped, the others are ours or escaped already."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join([escaped(row[0]), *row[1:]]) + " |" for row in rows])


def paired(report: Mapping[str, Any]) -> str:
    """Every candidate against the best one, on three metrics."""
    best, rows = report["verdict"]["best"], []
    metrics = ("accuracy", "macro_f1", "log_loss")
    for candidate in scored(report):
        against = candidate["against_best"]
        if against is None:
            continue
        cells = [candidate["name"], str(candidate["n_only_this"]), str(candidate["n_only_best"])]
        for name in metrics:
            found = against.get(name)
            difference = cell(name, found and found["value"], signed=True)
            cells += [difference, *(p_value(found[key]) if found else "–" for key in ("p_value", "p_holm"))]
        rows.append(cells)
    columns = ["candidate", "only it right", f"only {escaped(best)} right"]
    for name in metrics:
        columns += [f"{TITLES[name].removesuffix(' %')} minus {escaped(best)}'s", "p", "p, Holm"]
    return table(columns, rows)


def before(candidates: Sequence[Any]) -> str:
    """Every metric before calibration, and what calibration did."""
    columns = ["candidate", *TITLES.values(), "calibration", "temperature", "log loss on calib, before", "after"]
    rows = []
    for candidate in candidates:
        found = candidate["calibration"]
        if candidate["raw"]:
            cells = [cell(name, candidate["raw"].get(name)) for name in QUALITY]
            cells += [escaped(str(found.get("variant", "–"))), number(found.get("temperature"), "{:.3g}")]
            cells += [number(found.get(name), "{:.3f}") for name in ("log_loss_before", "log_loss_after")]
            rows.append([candidate["name"], *cells])
    return table(columns, rows)


def seeds(candidates: Sequence[Any]) -> str:
    """Mean and deviation over other seeds and other splits."""
    columns = ["candidate", "what differs", "trainings", "accuracy %", "macro-F1 %", "log loss"]
    means = {"split fixed": "seed of training", "split varied": "split and seed"}
    rows = []
    for candidate in candidates:
        for side, one in candidate["spread"].items():
            cells = []
            for name in ("accuracy", "macro_f1", "log_loss"):
                middle, deviation = one["mean"].get(name), one["sd"].get(name)
                if middle is None:
                    cells.append("–")
                elif name in _PERCENT:
                    cells.append(f"{100 * middle:.1f} ± {100 * deviation:.1f}")
                else:
                    cells.append(f"{middle:.3f} ± {deviation:.3f}")
            rows.append([candidate["name"], means[side], str(one["n"]), *cells])
    return table(columns, rows)


def learning(candidates: Sequence[Any]) -> str:
    """Accuracy by training rows a label."""
    # 0 stands for all rows, so it comes last.
    sizes = sorted(
        {point["per_label"] for candidate in candidates for point in candidate["curve"]}, key=lambda n: (n == 0, n)
    )
    rows = []
    for candidate in candidates:
        if candidate["curve"]:
            found = [[100 * p["accuracy"] for p in candidate["curve"] if p["per_label"] == size] for size in sizes]
            rows.append([candidate["name"], *map(_mean_and_deviation, found)])
    return table(["candidate", *(str(size) if size else "all" for size in sizes)], rows)


def _mean_and_deviation(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "–"
    return f"{mean(values):.1f} ± {stdev(values):.1f} ({len(values)})"


def outside(candidates: Sequence[Any]) -> str:
    """How well confidence tells rows from rows that have no right label."""
    rows = [
        [candidate["name"], f"{one['auroc']:.3f}", f"{100 * one['accepted']:.1f}", f"{one['n_rows']:.0f}"]
        for candidate in candidates
        if (one := candidate["outside"])
    ]
    return table(["candidate", "AUROC", "answered all the same, %", "rows"], rows)


def costs(report: Mapping[str, Any]) -> str:
    """Time, space and what they buy."""
    columns = [
        "candidate", "what it is", "trained", "ms/row, median", "95th percentile", "rows/s", "size", "peak memory",
        "prompt tokens", "accuracy %",
    ]  # fmt: skip
    rows = []
    for candidate in scored(report):
        cost, trained = candidate["cost"], candidate["cost"].get("seconds_to_train")
        rows.append(
            [
                candidate["name"],
                escaped(candidate["about"]),
                "–" if trained is None else duration(trained),
                milliseconds(cost.get("ms_p50")),
                milliseconds(cost.get("ms_p95")),
                number(cost.get("rows_per_second"), "{:.0f}"),
                megabytes(cost.get("size_bytes")),
                megabytes(cost.get("peak_memory_bytes")),
                number(cost.get("prompt_tokens"), "{:.0f}"),
                f"{100 * candidate['test']['accuracy']['value']:.1f}",
            ]
        )
    return table(columns, rows)


def frontier(report: Mapping[str, Any]) -> str:
    """The efficient candidates in a sentence, and what the columns of cost mean."""
    names = [escaped(name) for name in report["frontier"]]
    said = f"No faster candidate is as often right: {listed(names)}. " if names else ""
    return f"{said}Milliseconds are of a batch of one row, rows/s in bulk; trained: fitting, or all stages up to it."


def stages(report: Mapping[str, Any], curves: Mapping[str, Any]) -> str:
    """What every stage decided, on which numbers, and its curve's beginning and end."""
    parts = []
    for stage in report["stages"]:
        dev = ", ".join(f"{key} {value:.3f}" for key, value in stage["dev"].items())
        peak = megabytes(stage["peak_memory_bytes"])
        lines = [f"- **{stage['folder']}**: {duration(stage['seconds'])}, peak memory {peak}; dev: {dev}"]
        for key, value in stage["decided"].items():
            told = _told(value)
            if told and key != "stage":
                lines.append(f"  - {escaped(key)}: {escaped(told)}")
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


def by_label(report: Mapping[str, Any]) -> str:
    """Every label under the candidates that matter most, the hardest for the first of them on top."""
    tables = report["tables"]
    columns, rows = ["label", "rows"], []
    for name in tables:
        columns += [f"{escaped(name)}: {word} %" for word in ("precision", "recall", "F1")]
    found = list(zip(*(one["labels"] for one in tables.values()), strict=True))
    for same in sorted(found, key=lambda same: same[0]["f1"]):
        scores = [f"{100 * one[key]:.0f}" for one in same for key in ("precision", "recall", "f1")]
        rows.append([same[0]["label"], str(same[0]["n_rows"]), *scores])
    return table(columns, rows)


def confused(report: Mapping[str, Any]) -> list[str]:
    """The pairs of labels that are taken for each other most, a sentence a candidate."""
    labels, said = report["labels"], []
    for name, one in report["tables"].items():
        counts = one["confusion"]
        pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j and counts[i][j]]
        pairs.sort(key=lambda pair: -counts[pair[0]][pair[1]])
        confused = ", ".join(
            f"{escaped(labels[i])} taken for {escaped(labels[j])} ({counts[i][j]})" for i, j in pairs[:10]
        )
        by = escaped(name)
        said.append(f"Most confused by {by}: {confused}." if confused else f"No row is confused by {by}.")
    return said


def mistakes(report: Mapping[str, Any]) -> list[str]:
    """A section a candidate with its most confident mistakes."""
    parts = []
    for name, one in report["tables"].items():
        rows = [
            [
                row["id"],
                escaped(row["text"]),
                *map(escaped, (row["label"], row["answer"])),
                f"{row['confidence']:.2f}",
            ]
            for row in one["mistakes"]
        ]
        title = f"Most confident mistakes of {escaped(name)}"
        parts += section(title, table(["row", "text", "label", "answer", "confidence"], rows))
    return parts


def doubted(report: Mapping[str, Any]) -> str:
    """Rows whose label the candidates doubt."""
    columns = ["row", "split", "text", "label", "suggested", "confidence", "doubted by"]
    rows = []
    for one in report["suspects"]:
        words = [escaped(one[key]) for key in ("side", "text", "label", "suggested")]
        rows.append([one["id"], *words, f"{one['confidence']:.2f}", escaped(", ".join(one["candidates"]))])
    return table(columns, rows)
