"""Which of a task's points a question means that comes from elsewhere: by its name, its kind and its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from labelwright.data.asked.questions import Point, Question, points_of
from labelwright.data.label import Label

# A question as it comes, before anybody knows whose it is: one of its options, one of levels in order, or yes or no.
Kind = Literal["choice", "score", "yes_no"]
_KIND_OF: Mapping[str, Kind] = {"choice": "choice", "labels": "yes_no", "score": "score", "yes_no": "yes_no"}


def points_meant(
    questions: Sequence[Question], kind: Kind, names: Sequence[str], called: Sequence[str]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The points that a question of this kind names, each with which of its answers are asked, in order."""
    wanted = {" ".join(one.split()) for one in called} - {""}
    for place, point in enumerate(points_of(questions)):
        question = questions[point.question]
        goes_by = {point.name, point.about, *((point.label,) if point.label else (question.name,))}
        columns = among(names, answers_to(point))
        # Levels are a scale as a whole, in its order, and under whatever the client calls them.
        if kind == "score":
            columns = tuple(range(len(names))) if _is_scale(names, question.labels) else None
        if columns is not None and kind in ("choice", _KIND_OF[question.kind]) and wanted & goes_by:
            yield place, columns


def _is_scale(said: Sequence[str], levels: Sequence[Label]) -> bool:
    """Whether these are the levels, by name, by description, or by both."""
    known = [{one.name, one.description, f"{one.name}: {one.description}"} - {""} for one in levels]
    return len(said) == len(known) and all(one in names for one, names in zip(said, known, strict=True))


def answers_to(point: Point) -> list[str]:
    """The names of what a point can be answered with."""
    return [answer.name for answer in point.answers]


def among(names: Sequence[str], answers: Sequence[str]) -> tuple[int, ...] | None:
    """Where each name stands among answers; None where one does not."""
    place = {answer: number for number, answer in enumerate(answers)}
    return tuple(place[name] for name in names) if all(name in place for name in names) else None
