"""What is said about one row: its probabilities as a record, whatever was asked of it. Whoever answers says it so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.data.asked.levels import level_values
from labelwright.data.asked.questions import YES, Question
from labelwright.decisions.decision import ASK, NOTHING, PASSED_ON, UNSURE, Decided
from labelwright.statistics.hierarchical import node_sums

NO_ANSWER = "what the model answered is none of the labels"

Record = dict[str, Any]


def answer(
    bundle: Bundle, probs: NDArray[np.float64], choices: Sequence[str] | None = None, outside: Any = None
) -> Record:
    """What is said about one row: ``label``, ``confidence`` (its probability) and ``probabilities`` by label.

    Where the bundle's decision abstains, ``label`` is None, ``abstained`` says why, in the words of
    ``labelwright.decisions.decision``, and ``suggested`` is the label that it would have said, which ``confidence`` is
    of. Where labels are paths of a tree, ``at_least`` is then the deepest node above them that is probable enough
    (``Promise.node_threshold``, no promise), if there is one. Where sets are asked of its promise, ``label_set`` lists
    the labels of the row's. Of levels in order there is also ``expected``, the mean level (``level_values``). Where
    there is no answer (``labelwright.statistics.metrics.answers``) there is only ``label``, None, and ``error``, which
    says why.

    Where several points are asked of a row, a question that takes any of its labels has a list under ``label``, the
    probability of each under ``probabilities``, and as its ``confidence`` the probability that the whole list is right,
    were its labels independent. With several questions each of these is a mapping from their names.

    Parameters
    ----------
    probs : ndarray of shape (n_labels,), or (n_points, n_labels) where several points are asked
    choices : sequence of str, optional
        The row's own answers, which then stand for the letters.
    outside : bool, optional
        Whether the row belongs to no label, as ``Bundle.outside`` finds.
    """
    return next(answers_to_rows(bundle, [probs], [choices], [outside]))


def answers_to_rows(
    bundle: Bundle,
    probs: Sequence[NDArray[np.float64]],
    choices: Sequence[Sequence[str] | None],
    outside: Sequence[Any],
) -> Iterator[Record]:
    """``answer`` to each of several rows, whose parameters have one entry a row; decided together, which is quicker."""
    if bundle.task.points:
        yield from (_of_points(bundle, one) for one in probs)
        return
    decided, lowest = _decided(bundle, probs, outside), bundle.set_thresholds
    sets: Any = [None] * len(probs) if lowest is None else bundle.decision.sets(np.stack(probs), lowest)
    choice = decided.choice.tolist()
    for one, own, at, why, in_set in zip(probs, choices, choice, decided.why, sets, strict=True):
        yield _said(bundle, one, own, (at, why), in_set)


def _decided(bundle: Bundle, probs: Sequence[NDArray[np.float64]], outside: Sequence[Any]) -> Decided:
    """What becomes of one or more rows; who asks whether one belongs to no label asks of all."""
    is_asked = any(one is not None for one in outside)
    return bundle.decision.decide(np.stack(probs), np.array(outside, dtype=bool) if is_asked else None)


def _said(
    bundle: Bundle, probs: NDArray[np.float64], choices: Sequence[str] | None, decided: tuple[int, str], in_set: Any
) -> Record:
    """The record of one row: its choice and why it is not said, and which labels are in its set, if that is asked."""
    names = bundle.task.names if choices is None else choices
    why, best, by_label = _of_row(names, probs, decided, choices is not None)
    if why == NOTHING:
        return {"label": None, "error": NO_ANSWER}
    given: Record = {"label": None, "abstained": why, "suggested": best} if why else {"label": best}
    if why in (UNSURE, ASK, PASSED_ON) and (node := at_least(bundle, probs)):
        given["at_least"] = node
    if in_set is not None:
        given["label_set"] = [name for name, is_in in zip(names, in_set, strict=False) if is_in or name == best]
    said = {**given, "confidence": by_label[best], "probabilities": by_label}
    return said | _expected(bundle.task.questions[0], by_label) if bundle.task.questions else said


def _of_row(
    names: Sequence[str], probs: NDArray[np.float64], decided: tuple[int, str], are_own: bool
) -> tuple[str, str, dict[str, float]]:
    """Why one row gets no label, the label that it gets or would get, and the probabilities by label."""
    choice, why = decided
    if not are_own:
        return why, names[choice], dict(zip(names, probs.tolist(), strict=False))
    by_label: dict[str, float] = {}
    # Zeros of letters that the row does not use fall away; a choice that the row has twice has one probability.
    for name, p in zip(names, probs.tolist(), strict=False):
        by_label[name] = by_label.get(name, 0.0) + p
    # Among the row's own choices one that it has twice has two letters.
    return why, max(by_label, key=lambda name: by_label[name]), by_label


def likeliest(record: Record, n: int) -> Record:
    """The same record with the probabilities of a question's ``n`` likeliest labels, the likeliest first.

    A label that is said or suggested keeps its own, be it as unlikely as prices or several at once make it. Of equal
    ones the task's first go first.

    Examples
    --------
    >>> said = {"label": "c", "confidence": 0.2, "probabilities": {"a": 0.5, "b": 0.3, "c": 0.2}}
    >>> likeliest(said, 1)["probabilities"]
    {'a': 0.5, 'c': 0.2}
    """
    if "probabilities" not in record:
        return record
    said = record["suggested"] if "suggested" in record else record["label"]
    if not isinstance(record["confidence"], Mapping):
        return record | {"probabilities": _likeliest(record["probabilities"], n, said)}
    # Of several questions one may be answered and another one abstained on.
    each = {
        name: _likeliest(by_label, n, record.get("suggested", {}).get(name, record["label"][name]))
        for name, by_label in record["probabilities"].items()
    }
    return record | {"probabilities": each}


def _likeliest(by_label: Mapping[str, float], n: int, said: Any) -> dict[str, float]:
    kept = nlargest(n, by_label, key=by_label.__getitem__)
    also = said if isinstance(said, list) else [said]
    return {name: by_label[name] for name in [*kept, *(one for one in also if one not in kept)]}


def at_least(bundle: Bundle, probs: NDArray[np.float64]) -> str:
    """The deepest inner node that is probable enough to be said of a row, (n_labels,); empty where none is."""
    tree = bundle.task.tree
    if tree is None:
        return ""
    for depth in range(tree.depth - 1, 0, -1):
        sums = node_sums(probs[None], tree.at[depth - 1])[0]
        node = tree.nodes(depth)[int(sums.argmax())]
        # A label that ends above this depth is no inner node of it.
        if sums.max() >= bundle.promise.node_threshold and node not in tree.paths:
            return tree.name(node)
    return ""


def table_columns(bundle: Bundle) -> tuple[str, ...]:
    """What a table of answers has of each row (``table_row``)."""
    more = ("expected",) if any(one.kind == "score" for one in bundle.task.questions) else ()
    return "label", *(("abstained",) if bundle.decision.may_abstain else ()), "confidence", "probabilities", *more


def table_row(
    bundle: Bundle, probs: NDArray[np.float64], choices: Sequence[str] | None = None, outside: Any = None
) -> Record:
    """``answer`` with the same ``table_columns`` in every row, as tables need it; parameters as there.

    ``label`` is None where none is said, and ``abstained`` then why, else empty; without an answer ``confidence`` is 0.
    """
    columns, asked = table_columns(bundle), bundle.task.questions
    if not bundle.task.points:
        decided = _decided(bundle, [probs], [outside])
        names = bundle.task.names if choices is None else choices
        found = int(decided.choice[0]), decided.why[0]
        why, best, by_label = _of_row(names, probs, found, choices is not None)
        row: Record = {"label": None if why else best, "abstained": why}
        row |= {"confidence": 0.0 if why == NOTHING else by_label[best], "probabilities": by_label}
        row |= _expected(asked[0], by_label) if asked else {}
        return {name: row[name] for name in columns}
    nothing: Record = {"label": None, "abstained": NOTHING, "confidence": 0.0, "probabilities": {}}
    said_of = _by_question(bundle, probs) or {one.name: nothing for one in asked}
    rows = {name: {"abstained": "", "expected": None} | one for name, one in said_of.items()}
    if len(asked) == 1:
        return {column: rows[asked[0].name][column] for column in columns}
    scores = [one.name for one in asked if one.kind == "score"]
    return {
        column: {name: row[column] for name, row in rows.items() if column != "expected" or name in scores}
        for column in columns
    }


def labels_said(record: Record, least: float = 0.0) -> Any:
    """The label of a record of ``answer``; of several questions one each by name, as the record has them.

    None stands in the place of what is not answered, or with a confidence below ``least``.
    """
    label, confidence = record["label"], record.get("confidence", 0.0)
    if isinstance(confidence, Mapping):
        return {name: said if confidence[name] >= least else None for name, said in label.items()}
    return label if confidence >= least else None


def _of_points(bundle: Bundle, probs: NDArray[np.float64]) -> Record:
    said = _by_question(bundle, probs)
    if not said:
        return {"label": None, "error": NO_ANSWER}
    if len(said) == 1:
        return next(iter(said.values()))
    keys = list(dict.fromkeys(key for one in said.values() for key in one))
    return {key: {name: one[key] for name, one in said.items() if key in one} for key in keys}


def _by_question(bundle: Bundle, probs: NDArray[np.float64]) -> dict[str, Record]:
    """What is said to each question by its name; nothing where a point has no answer."""
    decided, points = bundle.decision.decide(probs), bundle.task.points
    if NOTHING in decided.why:
        return {}
    said = {}
    for number, question in enumerate(bundle.task.questions):
        places = [place for place, point in enumerate(points) if point.question == number]
        said[question.name] = _of_question(bundle, question, places, decided, probs)
    return said


def _of_question(
    bundle: Bundle,
    question: Question,
    places: Sequence[int],
    decided: Decided,
    probs: NDArray[np.float64],
) -> Record:
    names, points = bundle.task.names, [bundle.task.points[place] for place in places]
    answers = [names[int(decided.choice[place])] for place in places]
    why = next((decided.why[place] for place in places if decided.why[place]), "")
    by_class = [dict(zip(names, probs[place].tolist(), strict=True)) for place in places]
    if question.kind == "labels":
        by_label = {point.label: own[point.class_of(YES)] for point, own in zip(points, by_class, strict=True)}
        chosen = zip(points, answers, strict=True)
        best: Any = [point.label for point, answer in chosen if answer == point.class_of(YES)]
    else:
        (point,), (own,) = points, by_class
        by_label = {answer.name: own[point.class_of(answer.name)] for answer in point.answers}
        best = next(answer.name for answer in point.answers if point.class_of(answer.name) == answers[0])
    confidence = prod(float(decided.confidence[place]) for place in places)
    given: Record = {"label": None, "abstained": why, "suggested": best} if why else {"label": best}
    return {**given, "confidence": confidence, "probabilities": by_label, **_expected(question, by_label)}


def _expected(question: Question, by_label: Mapping[str, float]) -> Record:
    """The mean level of a score; nothing of other questions."""
    if question.kind != "score":
        return {}
    return {"expected": float(np.dot(level_values(list(by_label)), list(by_label.values())))}
