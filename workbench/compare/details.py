"""What single rows tell: labels, mistakes, what a confidence is worth, every candidate's answers, rows to look at.

Reads a candidate's probabilities once, and keeps of them what is shown: of a thousand labels and three thousand rows
that is little.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labelwright.data.task import Example
from labelwright.decisions.measured import answered_and_wrong
from labelwright.statistics.metrics import (
    Answers,
    Floats,
    Ints,
    answers,
    confusion,
    per_label,
    reliability,
    risk_coverage,
)
from labelwright.statistics.risk import risk_bound
from workbench.compare.board import (
    Answered,
    Bin,
    Confidence,
    LabelScores,
    Leaderboard,
    Mistake,
    Promised,
    Side,
    Suspect,
)
from workbench.compare.candidate import Candidate
from workbench.wording import listed

# How many mistakes are kept: what a person reads in one sitting.
N_MISTAKES = 20
# So many points are a curve to the eye; of more rows a part is kept.
_MOST_POINTS = 500
# And so many a bound, which is smooth and takes its time.
_MOST_BOUNDS = 25
# How many labels of a row get a probability in rows.jsonl: all of 77 would make a comparison's file of 200 MB.
_N_LIKELIEST = 20
# What stands for an answer in free text that is no label, and for a row that was not answered.
NO_LABEL, NO_ANSWER = "no label", "no answer"


@dataclass(frozen=True)
class AnsweredRow:
    """A test row, and what each candidate answered to it: its label, and the probability that it gave that."""

    id: str
    text: str
    label: str
    answers: Mapping[str, tuple[str, float]]


@dataclass(frozen=True)
class DoubtedRow:
    """A row that a person should look at.

    Attributes
    ----------
    side : str
        The split it is in.
    suggested : str
        The label that candidates, or the one that ships, give it instead; it may be the row's own.
    confidence : float
        Their probability of it.
    why : str
        Who doubts it, in a sentence.
    """

    side: Side
    id: str
    text: str
    label: str
    suggested: str
    confidence: float
    why: str


def answered(candidate: Candidate, gold: Ints, labels: Sequence[str], test: Sequence[Example]) -> Answered:
    """Scores of every label, the confusion counts, and the mistakes made with most confidence."""
    probs, read = candidate.probs, candidate.decision.read(candidate.probs, gold)
    # An answer in free text may be no label; the last name is for rows without an answer, whose position is -1.
    names = [*labels, *[NO_LABEL] * (probs.shape[1] - len(labels))]
    said, confidence, counts = read.answer, read.confidence, confusion(read, gold)
    wrong = np.flatnonzero(said != gold)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:N_MISTAKES]
    return Answered(
        labels=tuple(LabelScores(**one) for one in per_label(read, gold, names)),
        confusion=tuple((i, j, int(counts[i, j])) for i, j in np.argwhere(counts).tolist()),
        n_wrong=len(wrong),
        mistakes=tuple(
            Mistake(test[i].id, test[i].text, labels[gold[i]], [*names, NO_ANSWER][said[i]], float(confidence[i]))
            for i in surest.tolist()
        ),
    )


def confidence(candidate: Candidate, gold: Ints) -> Confidence:
    """Reliability before and after calibration, and the risk-coverage curve."""
    raw, probs = (candidate.decision.read(one, gold) if one.size else None for one in (candidate.raw, candidate.probs))
    assert probs is not None
    coverage, risk, _ = risk_coverage(probs, gold)
    shown = np.unique(np.linspace(0, len(coverage) - 1, min(len(coverage), _MOST_POINTS)).round().astype(int))
    points = zip(coverage[shown].tolist(), risk[shown].tolist(), strict=True)
    return Confidence(_bins(raw, gold) if raw is not None else (), _bins(probs, gold), tuple(points))


def promised(candidate: Candidate, gold: Ints, groups: Sequence[str] | None) -> Promised | None:
    """What a candidate promises, and how that went on the test rows; None where nothing was asked."""
    promise, asked = candidate.promise, candidate.promise.asked
    thresholds = promise.thresholds(candidate.probs.shape[1])
    if candidate.kind == "free" or thresholds is None:
        return None
    told = Promised(asked.max_error, asked.confidence, why=promise.fault(), n_apart=promise.n_apart)
    if promise.all is not None:
        some = [one for one in promise.all.tested if one[0]][:: -(-len(promise.all.tested) // _MOST_BOUNDS)]
        ends = [(n / promise.n_apart, risk_bound(wrong, n, asked.confidence)) for n, wrong in some]
        told = replace(told, bound=tuple(ends))
    if told.why:
        return told
    decision = replace(candidate.decision, thresholds=thresholds)
    found = answered_and_wrong(decision, candidate.probs, gold, groups, candidate.away)
    return replace(told, threshold=float(thresholds[0]), answered=found["answered"], wrong=found.get("wrong"))


def paid(candidate: Candidate, gold: Ints) -> Floats:
    """What a candidate's answer to each row cost, as it decides, (n_rows,)."""
    decision = candidate.decision
    return decision.realised(gold, decision.decide(candidate.probs, candidate.away).said)


def rows_jsonl(candidates: Sequence[Candidate], board: Leaderboard, test: Sequence[Example]) -> str:
    """One line a test row: id, text, label, and every candidate's label and calibrated probabilities.

    With prices also what its answer cost, unrounded. Where there are more than 20 labels, only the likeliest 20 of a
    candidate are given, in the order of the labels. Free text has no probabilities, and where it is no label, its label
    is null.
    """
    labels, measured = board.labels, {entry.name for entry in board.scored}
    told = {one.name: _likeliest(one) for one in candidates if one.name in measured}
    costs = dict[str, Floats]()
    if board.by == "cost":
        gold = np.array([labels.index(str(row.label)) for row in test], dtype=np.int64)
        costs = {one.name: paid(one, gold) for one in candidates if one.name in told and one.kind != "free"}
    lines = []
    for i, row in enumerate(test):
        given: dict[str, dict[str, Any]] = {}
        for name, (chosen, shown, values) in told.items():
            given[name] = {"label": labels[chosen[i]] if 0 <= chosen[i] < len(labels) else None}
            if shown is not None and values is not None:
                pairs = zip(shown[i].tolist(), values[i].tolist(), strict=True)
                given[name]["probabilities"] = {labels[k]: round(value, 6) for k, value in pairs}
            if name in costs:
                given[name]["cost"] = float(costs[name][i])
        value = {"id": row.id, "text": row.text, "label": row.label, "group": row.group, "candidates": given}
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def telling_rows(
    candidates: Sequence[Candidate], labels: Sequence[str], test: Sequence[Example], most: int
) -> list[AnsweredRow]:
    """The test rows that tell most of these candidates: those that one of them has wrong, then the least sure ones.

    Within both, rows come first to whose label the candidates give least on average.

    Parameters
    ----------
    most : int
        So many rows.
    """
    gold, each = np.array([labels.index(str(row.label)) for row in test]), np.arange(len(test))
    said, sure, right, of_gold = {}, {}, np.ones(len(test), dtype=bool), np.zeros(len(test))
    for one in candidates:
        probs = one.probs
        read = one.decision.read(probs, gold)
        said[one.name], sure[one.name] = read.answer, read.confidence
        right &= said[one.name] == gold
        of_gold += probs[each, gold]
    names = [*labels, NO_LABEL, NO_ANSWER]  # an answer of -1 is none
    return [
        AnsweredRow(
            test[i].id,
            test[i].text,
            labels[gold[i]],
            {name: (names[k[i]], float(sure[name][i])) for name, k in said.items()},
        )
        for i in np.lexsort((of_gold, right))[:most].tolist()
    ]


def doubted_rows(
    suspects: Sequence[Suspect],
    ships: Candidate,
    threshold: float | None,
    labels: Sequence[str],
    test: Sequence[Example],
    most: int,
) -> list[DoubtedRow]:
    """Rows whose label is doubted, then test rows to which the candidate that ships gives no answer, each row once.

    Parameters
    ----------
    threshold : float, optional
        The confidence below which that candidate abstains; None where none is known.
    most : int
        So many rows.
    """
    found = {
        one.id: DoubtedRow(
            one.side, one.id, one.text, one.label, one.suggested, one.confidence,
            f"{listed(one.candidates)} agree on another label",
        )
        for one in suspects
    }  # fmt: skip
    probs = ships.probs
    _, said, sure, _ = ships.decision.decide(probs)
    for i in np.argsort(sure, kind="stable").tolist():
        if threshold is None or sure[i] >= threshold:
            break
        if 0 <= said[i] < len(labels) and test[i].id not in found:
            why = f"{ships.name} abstains: its confidence is below {threshold:.2f}"
            row = test[i]
            found[row.id] = DoubtedRow("test", row.id, row.text, row.label, labels[said[i]], float(sure[i]), why)
    return list(found.values())[:most]


def _likeliest(candidate: Candidate) -> tuple[Any, Any, Any]:
    """A candidate's answers (n_test,), and its likeliest labels' positions and probabilities, each (n_test, shown)."""
    probs = candidate.probs
    chosen = answers(probs) if candidate.kind == "free" else candidate.decision.decide(probs).choice
    if candidate.kind == "free":
        return chosen, None, None
    shown = np.sort(np.argsort(-probs, axis=1, kind="stable")[:, :_N_LIKELIEST], axis=1)
    return chosen, shown, np.take_along_axis(probs, shown, axis=1)


def _bins(probs: Answers, gold: Ints) -> tuple[Bin, ...]:
    found = reliability(probs, gold)
    return tuple(Bin(one["low"], one["high"], int(one["n_rows"]), one["confidence"], one["accuracy"]) for one in found)
