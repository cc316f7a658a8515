"""The reliability diagram: how often answers of a confidence are right, bin by bin, and how many rows a bin holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labelwright.statistics.metrics import Floats, Ints, ece, reliability

_N_BINS = 10


def draw_reliability(probs: Mapping[str, Floats], gold: Ints, path: Path) -> None:
    """Write a PNG with one line for each classifier.

    Parameters
    ----------
    probs : mapping of name to ndarray of shape (n_rows, n_labels)
    gold : int ndarray of shape (n_rows,)
    path : Path
        Ends in ``.png``.
    """
    # The figure without pyplot: no display, no global state, so it also works in a thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for place, (name, p) in enumerate(probs.items()):
        bins = reliability(p, gold, _N_BINS)
        label = f"{name} (ECE {ece(p, gold):.3f})"
        top.plot([b["confidence"] for b in bins], [b["accuracy"] for b in bins], marker="o", label=label)
        width = 0.8 / (_N_BINS * len(probs))
        bottom.bar([b["low"] + 0.1 / _N_BINS + (place + 0.5) * width for b in bins], [b["n_rows"] for b in bins], width)
    top.set(ylabel="share right", ylim=(0, 1), title=f"Reliability on {len(gold)} calib rows")
    top.legend(loc="upper left", frameon=False)
    bottom.set(xlabel="confidence of the answer", ylabel="rows", xlim=(0, 1))
    figure.savefig(path, dpi=120)
