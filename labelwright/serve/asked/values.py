"""A bundle's questions as typed properties of an object: their JSON schema, a schema of a client's, and answers in it.

One of some labels is an enumeration, any of them an array of one, levels are whole numbers or else an enumeration, yes
or no is true or false. Knows nothing of chats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from labelwright.data.asked.asking import asking
from labelwright.data.asked.questions import YES, Question
from labelwright.data.records import has_half_a_character
from labelwright.data.task import Task
from labelwright.decisions.answered import Record
from labelwright.errors import DataError
from labelwright.serve.asked.enumeration import Form, Place, read_places

_SHOWN = 12
_WHOLE = re.compile("-?[1-9][0-9]{0,8}|0")


@dataclass(frozen=True)
class Answers:
    """How a row's answers are written.

    Attributes
    ----------
    form : Form, optional
        None writes one question's answer by itself: a label as it is, a list as JSON.
    asked : sequence of (Place, Question)
        What stands where.
    """

    form: Form | None
    asked: Sequence[tuple[Place, Question]]

    def written(self, record: Mapping[str, Any]) -> str:
        """The text of a row's answers, of the record of ``best_of``."""
        if self.form is None:
            ((_, question),) = self.asked
            said = record[question.name][0]
            return said if isinstance(said, str) else as_json(said)
        values = {place: _value(place, record[question.name][0]) for place, question in self.asked}
        confidence = prod(record[question.name][1] for _, question in self.asked)
        return as_json(self.form.written(values, confidence))


def is_typed(task: Task) -> bool:
    """Whether answers of a task are more than one label of its list."""
    return bool(task.points) or any(one.kind != "choice" for one in task.questions)


def best_of(task: Task, record: Record) -> dict[str, tuple[Any, float]]:
    """What a record of ``labelwright.decisions.answered`` says to each question, or would have, and how sure it is."""
    names = [one.name for one in task.questions]
    if len(names) == 1:
        return {names[0]: (record["suggested"] if record["label"] is None else record["label"], record["confidence"])}
    said = {name: record["suggested"][name] if label is None else label for name, label in record["label"].items()}
    return {name: (said[name], record["confidence"][name]) for name in names}


def schema_of(task: Task) -> dict[str, Any]:
    """The JSON schema of an object with an answer to each question of a task.

    >>> schema_of(Task.asking("mail", "Read it.", [Question("urgent", "yes_no")]))["properties"]
    {'urgent': {'type': 'boolean'}}
    """
    properties = {one.name: _property(one) for one in task.questions}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_answers(schema: Any, task: Task) -> Answers:
    """How answers are written into a schema of a client's.

    A property is the question whose name it has, spelled as names of properties are; or the only one whose answers it
    lists. All questions need not be asked.

    Raises
    ------
    DataError
        What ``read_places`` refuses; a property that is no question, or not of its type; a question twice.
    """
    form = read_places(schema)
    asked = [(place, _question(place, task)) for place in form.places]
    names = [question.name for _, question in asked]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"the schema asks the question {twice[0]!r} twice: once is enough")
    return Answers(form, asked)


def plain_answers(task: Task) -> Answers:
    """How answers are written where nobody says how: one by itself, several as an object."""
    if len(task.questions) > 1:
        return read_answers(schema_of(task), task)
    return Answers(None, [(Place("label"), task.questions[0])])


def as_json(value: Any) -> str:
    """JSON in characters as they are, or escaped where a schema's own words are half characters."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if has_half_a_character(text) else text


def _question(place: Place, task: Task) -> Question:
    where = f"property {place.name[:60]!r}"
    for question in task.questions:
        if _spelled(question.name) == _spelled(place.name):
            if _fits(place, question):
                return question
            raise DataError(f"{where} is of another type than the question: expected {json.dumps(_property(question))}")
    # That something is true or a number says which question it is only where there is one.
    is_known = bool(place.values) or len(task.questions) == 1
    fitting = [question for question in task.questions if is_known and _fits(place, question)]
    if len(fitting) != 1:
        raise DataError(f"{where} is none of this model's questions: expected {asking(task).said(_SHOWN)}")
    return fitting[0]


def _spelled(name: str) -> str:
    """A name as a property may have it: what is no letter or digit is one thing."""
    return "".join(char if char.isalnum() else "_" for char in name).casefold()


def _property(question: Question) -> dict[str, Any]:
    names = [label.name for label in question.labels]
    if question.kind == "yes_no":
        return {"type": "boolean"}
    if question.kind == "labels":
        return {"type": "array", "items": {"type": "string", "enum": names}}
    if _is_whole(question):
        return {"type": "integer", "enum": [int(name) for name in names]}
    return {"type": "string", "enum": names}


def _is_whole(question: Question) -> bool:
    """Whether its labels are levels that are whole numbers, as they are written."""
    return question.kind == "score" and all(_WHOLE.fullmatch(label.name) for label in question.labels)


def _fits(place: Place, question: Question) -> bool:
    """Whether each answer to a question can be said at a place, and no other that is listed there."""
    names = {answer.name for answer in question.answers if question.kind != "labels"}
    names |= {label.name for label in question.labels}
    if place.kind == "flag":
        return question.kind == "yes_no"
    if place.kind == "list" or question.kind == "labels":
        return place.kind == "list" and question.kind == "labels" and set(place.values) == names
    if place.kind == "label" or place.values:
        return set(place.values) == names and (place.kind == "label" or _is_whole(question))
    least, most = place.bounds
    return _is_whole(question) and all(least <= int(name) <= most for name in names)


def _value(place: Place, said: Any) -> Any:
    if place.kind == "flag":
        return said == YES
    return int(said) if place.kind == "number" else said
