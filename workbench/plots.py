"""The report's pictures: accuracy with intervals, reliability, risk against coverage, the stages' curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from labelwright.metrics import reliability, risk_coverage
from workbench.leaderboard import Leaderboard, Line

_COLOURS = {"baseline": "#8a8f98", "llm": "#1f6feb"}
Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]


def draw(board: Leaderboard, curves: Curves, folder: Path) -> list[Path]:
    """Write every plot as PNG under ``folder``; returns the paths.

    Parameters
    ----------
    curves : mapping of step folder to metric name to (step, value) pairs
        The curves worth showing, as ``chosen_curves`` picks them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"accuracy": _accuracy(board), "reliability": _reliability(board), "risk-coverage": _risk(board)}
    if curves:
        figures["curves"] = _curves(curves)
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        temporary = folder / f".{name}.tmp.png"
        figure.savefig(temporary, dpi=120, bbox_inches="tight")
        temporary.replace(path)
        paths.append(path)
    return paths


def chosen_curves(curves: Mapping[str, Mapping[str, Any]], at_most: int = 3) -> dict[str, dict[str, Any]]:
    """Of each step's metrics the few that say whether it learns: dev scores and rewards."""
    words = ("dev_accuracy", "reward", "accuracy", "dev")

    def order(name: str) -> tuple[int, str]:
        return next(i for i, word in enumerate(words) if word in name), name

    chosen = {}
    for step, metrics in curves.items():
        usable = sorted(
            (name for name, points in metrics.items() if len(points) > 1 and any(w in name for w in words)), key=order
        )
        if usable:
            chosen[step] = {name: metrics[name] for name in usable[:at_most]}
    return chosen


def _scored(board: Leaderboard) -> list[Line]:
    return [line for line in board.lines if not line.rung.failed]


def _shown(board: Leaderboard) -> list[Line]:
    """The rows worth a curve of their own: untuned, tuned, best baseline, best."""
    names = {board.verdict.best, board.verdict.tuned, board.verdict.best_baseline, "untuned"}
    return [line for line in _scored(board) if line.rung.name in names]


def _accuracy(board: Leaderboard) -> Figure:
    lines = _scored(board)[::-1]
    figure = Figure(figsize=(7, 0.8 + 0.4 * len(lines)))
    axes = figure.subplots()
    for y, line in enumerate(lines):
        value, low, high = (100 * one for one in line.test["accuracy"])
        colour = _COLOURS[line.rung.kind]
        axes.errorbar(value, y, xerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
        axes.annotate(f"{value:.1f}", (value, y), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8)
    axes.set_yticks(range(len(lines)), [line.rung.name for line in lines])
    axes.set_ylim(-0.6, len(lines) - 0.2)
    axes.set_xlabel("test accuracy, %, with 95 % interval (grey: baselines, blue: the model)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _reliability(board: Leaderboard) -> Figure:
    figure = Figure(figsize=(5, 5))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for line in _shown(board):
        bins = reliability(line.rung.probs, board.gold)
        label = f"{line.rung.name}, ECE {line.test['ece'].value:.3f}"
        axes.plot([one["confidence"] for one in bins], [one["accuracy"] for one in bins], marker="o", label=label)
    axes.set(xlabel="mean confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _risk(board: Leaderboard) -> Figure:
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    for line in _shown(board):
        coverage, risk, _ = risk_coverage(line.rung.probs, board.gold)
        axes.plot(100 * coverage, 100 * risk, label=line.rung.name)
    axes.set(xlabel="rows answered, most confident first, %", ylabel="wrong among them, %")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def _curves(curves: Curves) -> Figure:
    figure = Figure(figsize=(5 * len(curves), 3.5))
    grid = figure.subplots(1, len(curves), squeeze=False)
    for axes, (step, metrics) in zip(grid[0], curves.items(), strict=True):
        for name, points in metrics.items():
            axes.plot([step for step, _ in points], [value for _, value in points], label=name)
        axes.set(title=step, xlabel="step")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    return figure
