"""`python -m bench.decisions.next_rows`: what choosing rows gains over drawing them, and where it gains nothing.

A pool whose labels are known plays the unlabelled one: five rows a label begin, each round asks for more, and a light
classifier (MiniLM, logistic regression) learns from all that is labelled so far. Rows are chosen as `make next-rows`
does, a fifth of them by chance, or all by chance. Accuracy is measured on rows of the same file that are in no pool;
test files are not read. Every seed draws the first rows, the pool's order and the measured rows anew, and both ways
begin with the same rows, so that their difference is paired by seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression

from labelwright.data.task import read_examples
from labelwright.errors import LabelwrightError
from labelwright.files import replacing
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from workbench.next_rows.choice import choose
from workbench.progress import silence_libraries
from workbench.report.plots.style import LINES, STYLE

DATA = Path("../shared/data")
START, SHARE, LEVEL = 5, 0.2, 0.95
# Of the rows that are asked, the share drawn by chance.
WAYS = {"chosen": SHARE, "random": 1.0}
_SHOWN = {"chosen": "chosen (a fifth by chance)", "random": "all by chance"}


@dataclass(frozen=True)
class Setting:
    """A dataset, how many rows of it are used, and how many are asked a round.

    Attributes
    ----------
    n_rows, n_measured : int
        Rows drawn from the file, and those of them that only measure.
    """

    path: str
    n_rows: int
    n_measured: int
    n_asked: int
    n_rounds: int


SETTINGS = {
    "banking77": Setting("banking77/train.jsonl", 6000, 2500, 77, 8),
    "snips": Setting("snips/train.jsonl", 3000, 1000, 14, 8),
    "sofmattress": Setting("hint3_sofmattress/train.jsonl", 231, 90, 7, 5),
}


@dataclass(frozen=True)
class Curve:
    """One way on one dataset.

    Attributes
    ----------
    accuracy : ndarray of shape (n_seeds, n_rounds + 1)
        On the measured rows, before anything is asked and after each round.
    on_random, on_chosen : ndarray of shape (n_seeds, n_rounds)
        Before each round is learnt, on the rows that it asks: those drawn by chance, and the others (nan for none).
    n_first : ndarray of shape (n_seeds,)
        Rows that are labelled at the beginning: ``START`` a label, fewer of labels that have fewer.
    """

    accuracy: NDArray[np.float64]
    on_random: NDArray[np.float64]
    on_chosen: NDArray[np.float64]
    n_first: NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and, where a file is named, draw the curves; 0, or 2 where the data is at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions.next_rows", description=(__doc__ or "")[:90])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--data", type=Path, default=DATA, help="(default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="a .png file to draw the curves to")
    given = parser.parse_args(arguments)
    silence_libraries()
    begun = time.monotonic()
    found = {}
    try:
        for name in given.only:
            found[name] = measure(SETTINGS[name], given.data, given.seeds)
            print(table(name, SETTINGS[name], found[name]), flush=True)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.plot:
        draw(found, given.plot)
    print(f"\n{given.seeds} seeds, {time.monotonic() - begun:.0f} s")
    return 0


def measure(setting: Setting, data: Path, n_seeds: int) -> dict[str, Curve]:
    """The curve of each way."""
    examples = read_examples(data / setting.path)
    rng = np.random.default_rng(0)
    drawn = [examples[i] for i in rng.permutation(len(examples))[: setting.n_rows]]
    vectors = open_encoder().embed([row.text for row in drawn])
    gold = np.unique([row.label for row in drawn], return_inverse=True)[1]
    return simulate(setting, vectors, gold, n_seeds, fitted)


def fitted(vectors: NDArray[np.float32], gold: NDArray[np.int64], n_labels: int) -> Callable[..., NDArray[np.float64]]:
    """Probabilities of vectors, (n, n_labels), by a logistic regression over the labels that it was shown."""
    head = LogisticRegression(C=30.0, tol=1e-3, max_iter=200).fit(vectors, gold)

    def probabilities(asked: NDArray[np.float32]) -> NDArray[np.float64]:
        probs = np.zeros((len(asked), n_labels))
        probs[:, head.classes_] = head.predict_proba(asked)
        return probs

    return probabilities


def simulate(
    setting: Setting,
    vectors: NDArray[np.float32],
    gold: NDArray[np.int64],
    n_seeds: int,
    fit: Callable[..., Callable[..., NDArray[np.float64]]],
) -> dict[str, Curve]:
    """The curve of each way over the rows given; ``fit`` as ``fitted``."""
    kept: dict[str, list[tuple[list[float], list[float], list[float], int]]] = {name: [] for name in WAYS}
    for seed in range(n_seeds):
        order = np.random.default_rng(seed).permutation(len(gold))
        measured, rest = order[: setting.n_measured], order[setting.n_measured :]
        first = np.concatenate([rest[gold[rest] == label][:START] for label in np.unique(gold)])
        pool = rest[~np.isin(rest, first)]
        for name, share in WAYS.items():
            kept[name].append(_one(setting, vectors, gold, (measured, first, pool), share, seed, fit))
    return {name: Curve(*map(np.array, zip(*runs, strict=True))) for name, runs in kept.items()}


def _one(
    setting: Setting,
    vectors: NDArray[np.float32],
    gold: NDArray[np.int64],
    rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    share: float,
    seed: int,
    fit: Callable[..., Callable[..., NDArray[np.float64]]],
) -> tuple[list[float], list[float], list[float], int]:
    measured, labelled, pool = rows
    n_first, n_labels = len(labelled), int(gold.max()) + 1
    accuracy: list[float] = []
    on_random: list[float] = []
    on_chosen: list[float] = []
    for number in range(setting.n_rounds + 1):
        probabilities = fit(vectors[labelled], gold[labelled], n_labels)
        accuracy.append(float((probabilities(vectors[measured]).argmax(axis=1) == gold[measured]).mean()))
        if number == setting.n_rounds:
            break
        # As a new draw of the pool has its rows in an order of chance.
        pool = np.random.default_rng((seed, number)).permutation(pool)
        probs = probabilities(vectors[pool])
        n_random = round(share * setting.n_asked)
        asked = choose(probs, partial(_vectors_at, vectors[pool]), setting.n_asked, n_random, seed)
        taken = np.array([row for row, _ in asked])
        by_chance = np.array([why == "random" for _, why in asked])
        right = probs[taken].argmax(axis=1) == gold[pool[taken]]
        on_random.append(float(right[by_chance].mean()))
        on_chosen.append(float(right[~by_chance].mean()) if not by_chance.all() else np.nan)
        labelled, pool = np.concatenate([labelled, pool[taken]]), np.delete(pool, taken)
    return accuracy, on_random, on_chosen, n_first


def _vectors_at(vectors: NDArray[np.float32], rows: list[int]) -> NDArray[np.float32]:
    return vectors[rows]


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean over seeds and the two ends of Student's interval."""
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return mean, mean - half, mean + half


def rows_saved(setting: Setting, curves: dict[str, Curve]) -> str:
    """After how many rows drawn by chance the mean accuracy is what it is after half of all rounds of chosen rows."""
    half = setting.n_rounds // 2
    wanted, by_chance = curves["chosen"].accuracy.mean(axis=0)[half], curves["random"].accuracy.mean(axis=0)
    n_rows = n_labelled(setting, curves["random"])
    if wanted > by_chance.max():
        return f"{n_rows[half]:.0f} rows, chosen, are better than {n_rows[-1]:.0f} by chance"
    reached = np.interp(wanted, np.maximum.accumulate(by_chance), n_rows)
    return f"{n_rows[half]:.0f} rows, chosen, are as good as about {reached:.0f} by chance"


def n_labelled(setting: Setting, curve: Curve) -> NDArray[np.float64]:
    """Rows that are labelled at each point of a curve, (n_rounds + 1,)."""
    rows: NDArray[np.float64] = curve.n_first.mean() + setting.n_asked * np.arange(setting.n_rounds + 1)
    return rows


def table(name: str, setting: Setting, curves: dict[str, Curve]) -> str:
    """A Markdown table: a row a round, accuracies in percent with 95 % intervals over seeds, and the difference."""
    chosen, by_chance = curves["chosen"], curves["random"]
    lines = [
        f"\n**{name}** ({setting.n_asked} rows a round)\n",
        "| rows labelled | chosen | by chance | difference, points | right on chosen rows, % | on those by chance |",
        "|---|---|---|---|---|---|",
    ]
    for k, n_rows in enumerate(n_labelled(setting, chosen)):
        both = chosen.accuracy[:, k], by_chance.accuracy[:, k]
        cells = [f"{n_rows:.0f}", _percent(both[0]), _percent(both[1]), _percent(both[0] - both[1], "+.1f")]
        if k < setting.n_rounds:
            cells += [f"{100 * asked[:, k].mean():.1f}" for asked in (chosen.on_chosen, chosen.on_random)]
        else:
            cells += ["–", "–"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, f"\n{rows_saved(setting, curves)}"])


def _percent(values: NDArray[np.float64], form: str = ".1f") -> str:
    mean, low, high = (100 * one for one in mean_interval(values))
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def draw(found: dict[str, dict[str, Curve]], path: Path) -> None:
    """The curves as a picture, a panel a dataset, with bands for the intervals."""
    matplotlib.use("Agg")
    with matplotlib.rc_context(STYLE):
        figure, panels = plt.subplots(1, len(found), figsize=(3.4 * len(found), 2.8), squeeze=False)
        for panel, (name, curves) in zip(panels[0], found.items(), strict=True):
            for (way, curve), colour in zip(curves.items(), LINES, strict=False):
                n_rows = n_labelled(SETTINGS[name], curve)
                ends = np.array([mean_interval(column) for column in 100 * curve.accuracy.T])
                panel.plot(n_rows, ends[:, 0], color=colour, marker="o", markersize=3, label=_SHOWN[way])
                panel.fill_between(n_rows, ends[:, 1], ends[:, 2], color=colour, alpha=0.15, linewidth=0)
            panel.set(title=name, xlabel="rows labelled")
            panel.grid(axis="y")
        panels[0][0].set_ylabel("accuracy, %")
        panels[0][0].legend(loc="lower right")
        with replacing(path) as part:
            figure.savefig(part, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    sys.exit(main())
