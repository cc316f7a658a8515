"""`python -m bench.decisions.scope`: which score tells rows that belong to no label, where nobody has such rows.

Two kinds of rows play them. Near: whole labels are left out of training, and their rows asked. Far: rows of other
datasets are asked. The classifier is a logistic regression on MiniLM, trained without the labels that are left out.
Each score's AUROC is averaged over both kinds on three datasets; the best is what bundles use
(``labelwright.decisions.scope``). HINT3 SOFMattress, which has real rows out of scope, chooses nothing: the comparison
reports it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bench.decisions.next_rows import DATA, mean_interval
from labelwright.data.task import read_examples
from labelwright.decisions.scope import Vectors, both, certainty, nearness
from labelwright.errors import LabelwrightError
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from workbench.progress import silence_libraries

# Files below the datasets' folder, or of this repository, and rows of each that are used.
SETS = {
    "banking77": ("banking77/train.jsonl", 2000),
    "snips": ("snips/train.jsonl", 900),
    "homeowner": ("data/homeowner/homeowner.jsonl", 900),
}
N_PARTS, N_DRAWS, SHARE, N_FAR = 4, 3, 0.7, 300
Rows = tuple[Vectors, NDArray[np.int64]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where the data is at fault."""
    begun = time.monotonic()
    if (rows := sets_of("python -m bench.decisions.scope", __doc__, arguments)) is None:
        return 2
    print(table({f"{name}, {kind}": found for name in rows for kind, found in measured(name, rows)}))
    print(f"\n{N_DRAWS} draws of rows and labels, {time.monotonic() - begun:.0f} s")
    return 0


def sets_of(prog: str, about: str | None, arguments: Sequence[str] | None) -> dict[str, Rows] | None:
    """The rows of each of ``SETS``, from the folder that a command's arguments name; None where data is at fault."""
    parser = argparse.ArgumentParser(prog=prog, description=(about or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        return {name: read(given.data / path, path, n) for name, (path, n) in SETS.items()}
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return None


def read(path: Path, own: str, n_rows: int) -> Rows:
    examples = read_examples(path if path.is_file() else Path(own))
    drawn = [examples[i] for i in np.random.default_rng(0).permutation(len(examples))[:n_rows]]
    gold = np.unique([row.label for row in drawn], return_inverse=True)[1]
    return open_encoder().embed([row.text for row in drawn]), gold


def measured(name: str, sets: dict[str, Rows]) -> Iterator[tuple[str, dict[str, NDArray[np.float64]]]]:
    """By kind, the AUROC of each score, (N_DRAWS,)."""
    vectors, gold = sets[name]
    near: list[dict[str, float]] = []
    far: list[dict[str, float]] = []
    for draw in range(N_DRAWS):
        rng = np.random.default_rng(draw)
        order, labels = rng.permutation(len(gold)), rng.permutation(np.unique(gold))
        train, rest = np.split(order, [round(SHARE * len(order))])
        rest = rest[np.isin(gold[rest], gold[train])]
        parts = []
        for out in np.array_split(labels, N_PARTS):
            taught = train[~np.isin(gold[train], out)]
            found = scores(vectors[taught], gold[taught], vectors[rest])
            parts.append(aurocs(found, ~np.isin(gold[rest], out)))
        near.append({score: float(np.mean([part[score] for part in parts])) for score in parts[0]})
        others = np.concatenate([sets[other][0][:N_FAR] for other in sets if other != name])
        asked = np.concatenate([vectors[rest], others])
        found = scores(vectors[train], gold[train], asked)
        far.append(aurocs(found, np.arange(len(asked)) < len(rest)))
    for kind, draws in (("near", near), ("far", far)):
        yield kind, {score: np.array([one[score] for one in draws]) for score in draws[0]}


def scores(vectors: Vectors, gold: NDArray[np.int64], asked: Vectors) -> dict[str, NDArray[np.float64]]:
    """Of rows that are asked, (n_asked,) each: high where a row is in scope."""
    head = LogisticRegression(C=30.0, tol=1e-3, max_iter=200).fit(vectors, gold)
    probs, logits = head.predict_proba(asked), head.decision_function(asked)
    middles = np.stack([vectors[gold == label].mean(axis=0) for label in head.classes_])
    within = vectors - middles[np.searchsorted(head.classes_, gold)]
    spread = within.T @ within / len(within)
    # Shrunk half-way to a sphere: there are fewer rows than a covariance has entries.
    shrunk = 0.5 * spread + 0.5 * np.trace(spread) / len(spread) * np.eye(len(spread))
    whitened = np.linalg.cholesky(np.linalg.inv(shrunk))
    apart = ((asked @ whitened)[:, None] - (middles @ whitened)[None]) ** 2
    sure, near = certainty(probs), nearness(asked, vectors)
    return {
        "highest probability": probs.max(axis=1),
        "certainty": sure,
        "energy (logsumexp of logits)": logsumexp(logits, axis=1),
        "nearness": near,
        "Mahalanobis distance to a label's mean": -apart.sum(axis=2).min(axis=1),
        "highest probability x nearness^2": both(probs.max(axis=1), near),
        "certainty x nearness^2": both(sure, near),
    }


def aurocs(found: dict[str, NDArray[np.float64]], inside: NDArray[np.bool_]) -> dict[str, float]:
    """How often a row in scope has more of a score than one out of scope, by score."""
    return {name: float(roc_auc_score(inside, values)) for name, values in found.items()}


def table(found: dict[str, dict[str, NDArray[np.float64]]]) -> str:
    """A Markdown table: a row a score, AUROC by dataset and kind, and the mean of all with its interval over draws."""
    lines = [f"| score | {' | '.join(found)} | mean [95 % interval] |", "|---|" + "---|" * (len(found) + 1)]
    for score in next(iter(found.values())):
        each = [one[score] for one in found.values()]
        mean, low, high = mean_interval(np.mean(each, axis=0))
        lines.append(
            f"| {score} | {' | '.join(f'{one.mean():.3f}' for one in each)} | {mean:.3f} [{low:.3f}, {high:.3f}] |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
