"""The Pareto fronts of a search, drawn: which program is best on which dev rows, and what better ones cost in tokens.

GEPA keeps a program for the rows that no other does better on, whatever its mean: what is good at a few hard rows is
worth improving. So a front of several programs says that no instructions are best for all rows. The other front is the
user's: instructions are paid with every row answered, and a program is on it if none is both shorter and better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.files import replacing


def front_of(
    programs: Sequence[Mapping[str, Any]], rows: Sequence[str]
) -> tuple[list[Mapping[str, Any]], NDArray[np.bool_]]:
    """The programs that are best on some row, by dev score, and on which rows each is.

    Parameters
    ----------
    programs : sequence of mapping
        As ``programs.json`` has them.
    rows : sequence of n_rows str
        Ids of the dev rows.

    Returns
    -------
    (programs, best)
        ``best`` is of shape (n_programs, n_rows); a row that no program earns anything on has none.
    """
    front = sorted((one for one in programs if one["best_on"]), key=lambda one: -one["dev_score"])
    place = {id: column for column, id in enumerate(rows)}
    best = np.zeros((len(front), len(rows)), dtype=bool)
    for line, one in enumerate(front):
        best[line, [place[id] for id in one["best_on"]]] = True
    return front, best


def price_front(programs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The programs that none beats in both tokens and dev score, the shortest first.

    >>> [one["program"] for one in price_front([
    ...     {"program": 0, "n_tokens": 10, "dev_score": 0.4}, {"program": 1, "n_tokens": 90, "dev_score": 0.6},
    ...     {"program": 2, "n_tokens": 95, "dev_score": 0.5}])]
    [0, 1]
    """
    front: list[Mapping[str, Any]] = []
    for one in sorted(programs, key=lambda one: (one["n_tokens"], -one["dev_score"])):
        if not front or one["dev_score"] > front[-1]["dev_score"]:
            front.append(one)
    return front


def draw_front(programs: Sequence[Mapping[str, Any]], rows: Sequence[str], path: Path) -> None:
    """Write a PNG: a line a program of the front, a column a dev row, filled where the program is best.

    Columns go from rows that nobody has, over those that few programs have, to those that all have. Below, every
    program at its tokens and its dev score, those of ``price_front`` joined.
    """
    # The figure without pyplot: no display, no global state, so it also works in a thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    front, best = front_of(programs, rows)
    shown = best[:, np.lexsort((*best[::-1], best.sum(axis=0)))]
    height = 1.4 + 0.22 * max(len(front), 1)
    figure = Figure(figsize=(7, height + 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes, below = figure.subplots(2, height_ratios=[height, 2.6])
    if front:
        axes.imshow(shown, aspect="auto", cmap="Blues", vmin=0, vmax=1.5, interpolation="nearest")
    axes.set_yticks(range(len(front)), [f"{one['program']}  ({one['dev_score']:.2f})" for one in front], fontsize=8)
    axes.set_xticks([])
    axes.set(xlabel=f"{len(rows)} dev rows, the hardest first", ylabel="program (dev score)")
    n_nobody = int((~best.any(axis=0)).sum())
    axes.set_title(
        f"{len(front)} of {len(programs)} programs are best on some row; {n_nobody} rows none has", fontsize=9
    )
    _draw_price(below, programs)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def _draw_price(axes: Any, programs: Sequence[Mapping[str, Any]]) -> None:
    front = price_front(programs)
    axes.step(
        [one["n_tokens"] for one in front], [one["dev_score"] for one in front], where="post", color="0.7", zorder=1
    )
    colours = ["tab:orange" if one in front else "tab:blue" for one in programs]
    axes.scatter(
        [one["n_tokens"] for one in programs], [one["dev_score"] for one in programs], c=colours, s=18, zorder=2
    )
    for one in programs:
        place = one["n_tokens"], one["dev_score"]
        axes.annotate(str(one["program"]), place, xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel="tokens of the instructions", ylabel="dev score")
    axes.set_title(f"{len(front)} of {len(programs)} programs are not beaten in both tokens and dev score", fontsize=9)
