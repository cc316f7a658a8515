"""What the rows tell of the candidates that matter most: their labels, mistakes, and what their confidence is worth.

Reads a candidate's probabilities once, and keeps of them what is shown: of a thousand labels and three thousand rows
that is little. Called by ``workbench.compare.leaderboard`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelwright.data.task import Example
from labelwright.statistics.metrics import Floats, Ints, answers, confusion, per_label, reliability, risk_coverage
from workbench.compare.board import Answered, Bin, Confidence, LabelScores, Mistake
from workbench.compare.candidate import Candidate

# How many mistakes are kept: what a person reads in one sitting.
N_MISTAKES = 20
# So many points are a curve to the eye; of more rows a part is kept.
_MOST_POINTS = 500


def answered(candidate: Candidate, gold: Ints, labels: Sequence[str], test: Sequence[Example]) -> Answered:
    """Scores of every label, the confusion counts, and the mistakes made with most confidence."""
    probs = candidate.probs
    # An answer in free text may be no label; the last name is for rows without an answer, whose position is -1.
    names = [*labels, *["no label"] * (probs.shape[1] - len(labels))]
    said, confidence, counts = answers(probs), probs.max(axis=1), confusion(probs, gold)
    wrong = np.flatnonzero(said != gold)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:N_MISTAKES]
    return Answered(
        labels=tuple(LabelScores(**one) for one in per_label(probs, gold, names)),
        confusion=tuple((i, j, int(counts[i, j])) for i, j in np.argwhere(counts).tolist()),
        n_wrong=len(wrong),
        mistakes=tuple(
            Mistake(test[i].id, test[i].text, labels[gold[i]], [*names, "no answer"][said[i]], float(confidence[i]))
            for i in surest.tolist()
        ),
    )


def confidence(candidate: Candidate, gold: Ints) -> Confidence:
    """Reliability before and after calibration, and the risk-coverage curve."""
    raw, probs = candidate.raw, candidate.probs
    coverage, risk, _ = risk_coverage(probs, gold)
    shown = np.unique(np.linspace(0, len(coverage) - 1, min(len(coverage), _MOST_POINTS)).round().astype(int))
    points = zip(coverage[shown].tolist(), risk[shown].tolist(), strict=True)
    return Confidence(_bins(raw, gold) if raw.size else (), _bins(probs, gold), tuple(points))


def _bins(probs: Floats, gold: Ints) -> tuple[Bin, ...]:
    found = reliability(probs, gold)
    return tuple(Bin(one["low"], one["high"], int(one["n_rows"]), one["confidence"], one["accuracy"]) for one in found)
