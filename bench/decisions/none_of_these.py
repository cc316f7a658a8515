"""`python -m bench.decisions.none_of_these`: what a trained "none of these" adds where some such rows are in train.

Whole labels are left out of scope. Rows of half of them teach, beside the rows in scope; what is asked then is of these
labels (taught), of the other half (new), and of other datasets (far). Each score's AUROC against rows in scope, as
``bench.decisions.scope`` has it, and what is found at one threshold, by how many rows out of scope teach.
What bundles use is ``labelwright.decisions.scope``; HINT3 SOFMattress has no such rows in train, and chooses nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench.decisions.scope import N_DRAWS, N_FAR, SHARE, Rows, aurocs, sets_of, table
from labelwright.decisions.scope import both, certainty, in_scope, nearness
from optimizers.scope import KEPT, none_of_these

Draws = dict[str, NDArray[np.float64]]
# Rows out of scope that teach, at most, and the share of labels that are out of scope.
N_TAUGHT, OUT = (20, 100), 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each number of rows that teach; 0, or 2 where the data is at fault."""
    begun = time.monotonic()
    if (rows := sets_of("python -m bench.decisions.none_of_these", __doc__, arguments)) is None:
        return 2
    for n in N_TAUGHT:
        n_taught: dict[str, list[int]] = {name: [] for name in rows}
        each = {f"{name}, {kind}": found for name in rows for kind, found in measured(name, rows, n, n_taught[name])}
        told = "; ".join(f"{name} {', '.join(map(str, taught))}" for name, taught in n_taught.items())
        print(f"up to {n} rows out of scope teach, by draw: {told}\n")
        print("AUROC\n")
        print(table({kind: auroc for kind, (auroc, _) in each.items()}), end="\n\n")
        print(f"share found where {KEPT:.0%} of rows in scope are kept\n")
        print(table({kind: recall for kind, (_, recall) in each.items()}), end="\n\n")
    print(f"{N_DRAWS} draws of rows and labels, {time.monotonic() - begun:.0f} s")
    return 0


def measured(
    name: str, sets: dict[str, Rows], most_taught: int, n_taught: list[int]
) -> Iterator[tuple[str, tuple[Draws, Draws]]]:
    """By kind of rows out of scope, of each score the AUROC and the share found, (N_DRAWS,) each.

    ``n_taught`` gets, of each draw, how many rows out of scope teach: a small dataset has fewer than ``most_taught``.
    """
    vectors, gold = sets[name]
    far = np.concatenate([sets[other][0][:N_FAR] for other in sets if other != name])
    found: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {"taught": [], "new": [], "far": []}
    for draw in range(N_DRAWS):
        rng = np.random.default_rng(draw)
        order, labels = rng.permutation(len(gold)), rng.permutation(np.unique(gold))
        n_out = max(round(OUT * len(labels)) // 2, 1)
        known, new = labels[:n_out], labels[n_out : 2 * n_out]
        train, rest = np.split(order, [round(SHARE * len(order))])
        is_out = np.isin(gold, [*known, *new])
        taught = train[np.isin(gold[train], known)][:most_taught]
        n_taught.append(len(taught))
        train, inside = train[~is_out[train]], rest[~is_out[rest]]
        asked = {
            "taught": vectors[rest[np.isin(gold[rest], known)]],
            "new": vectors[rest[np.isin(gold[rest], new)]],
            "far": far,
        }
        everything = np.concatenate([vectors[inside], *asked.values()])
        each = scores(vectors[train], gold[train], vectors[taught], everything)
        begun = len(inside)
        for kind, own in asked.items():
            at = np.concatenate([np.arange(len(inside)), np.arange(begun, begun + len(own))])
            is_inside = np.arange(len(at)) < len(inside)
            own_scores = {score: one[at] for score, one in each.items()}
            found[kind].append((aurocs(own_scores, is_inside), recalls(own_scores, is_inside)))
            begun += len(own)
    for kind, draws in found.items():
        auroc, recall = (
            {score: np.array([one[which][score] for one in draws]) for score in draws[0][which]} for which in (0, 1)
        )
        yield kind, (auroc, recall)


def recalls(found: dict[str, NDArray[np.float64]], inside: NDArray[np.bool_]) -> dict[str, float]:
    """The share of rows out of scope below the threshold that keeps ``KEPT`` of those in scope, by score."""
    return {
        name: float((values[~inside] < np.quantile(values[inside], 1 - KEPT)).mean()) for name, values in found.items()
    }


def scores(
    vectors: NDArray[np.float32], gold: NDArray[np.int64], out: NDArray[np.float32], asked: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Of rows that are asked, (n_asked,) each: high where a row is in scope."""
    probs = LogisticRegression(C=30.0, tol=1e-3, max_iter=200).fit(vectors, gold).predict_proba(asked)
    sure, near = certainty(probs), nearness(asked, vectors)
    none = in_scope(asked, none_of_these(vectors, out))
    label = np.append(gold, np.full(len(out), gold.max() + 1))
    together = LogisticRegression(C=30.0, tol=1e-3, max_iter=200).fit(np.concatenate([vectors, out]), label)
    return {
        "score": both(sure, near),
        "none of these alone": none,
        "a label of its own": 1 - together.predict_proba(asked)[:, -1],
        "score x none of these": both(sure, near) * none,
    }


if __name__ == "__main__":
    sys.exit(main())
