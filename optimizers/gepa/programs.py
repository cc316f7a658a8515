"""The programs of a search, at its end: all of them as a file, what is read of them as a table, and their tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwright.data.task import Example
from labelwright.files import read_json, replacing, write_json
from optimizers.gepa.components.parts import COMPONENTS, PREDICTORS
from optimizers.stage import Tracker

# What the table has of a program.
_SHOWN = ("program", "parents", "n_tokens", "dev_score", "found_after_metric_calls", "n_best_on", *COMPONENTS)


def write_programs(path: Path, state: Any, dev: Sequence[Example], n_tokens: Sequence[int]) -> Path:
    """The table of programs: text, its tokens, parents, dev score, and the dev rows on which none is better."""
    fronts = state.get_pareto_front_mapping()
    table = []
    for number, program in enumerate(state.program_candidates):
        subscores = state.prog_candidate_val_subscores[number]
        best_on = [dev[row].id for row, front in fronts.items() if number in front and subscores[row] > 0]
        table.append(
            {
                "program": number,
                "parents": [parent for parent in state.parent_program_for_candidate[number] if parent is not None],
                "n_tokens": n_tokens[number],
                "dev_score": state.program_full_scores_val_set[number],
                "found_after_metric_calls": state.num_metric_calls_by_discovery[number],
                "n_best_on": len(best_on),
                "best_on": best_on,
                **{name: program[key] for name, key in PREDICTORS.items() if key in program},
            }
        )
    write_json(path, table)
    return path


def show_programs(path: Path, tracker: Tracker) -> None:
    """Report the file that ``write_programs`` wrote, its table, and the tree, drawn beside it."""
    programs = read_json(path)
    columns: dict[str, list[Any]] = {key: [one[key] for one in programs] for key in _SHOWN if key in programs[0]}
    columns["parents"] = [", ".join(map(str, parents)) for parents in columns["parents"]]
    tree = path.with_name("programs-tree.png")
    with replacing(tree) as part:
        draw_tree(programs, part)
    tracker.artifact(path)
    tracker.table("programs-table", columns)
    tracker.artifact(tree)


def draw_tree(programs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a PNG: each program at the rows scored until it was found and its dev score, with a line from its parents.

    Parameters
    ----------
    programs : sequence of mapping
        As ``write_programs`` has them, at least one.
    path : Path
        Ends in ``.png``.
    """
    # The figure without pyplot: no display, no global state, so it also works in a thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = {one["program"]: (one["found_after_metric_calls"], one["dev_score"]) for one in programs}
    for one in programs:
        for parent in one["parents"]:
            (x0, y0), (x1, y1) = places[parent], places[one["program"]]
            axes.plot([x0, x1], [y0, y1], color="0.7", linewidth=1, zorder=1)
    best = max(places, key=lambda number: places[number][1])
    colours = ["tab:orange" if number == best else "tab:blue" for number in places]
    found, scores = zip(*places.values(), strict=True)
    axes.scatter(found, scores, c=colours, zorder=2)
    for number, place in places.items():
        axes.annotate(str(number), place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="rows scored when it was found", ylabel="dev score")
    axes.set_title(f"{len(places)} programs; 0 is where the search began, {best} is the best")
    figure.savefig(path, dpi=120)
