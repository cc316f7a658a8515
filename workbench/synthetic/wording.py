"""The words of both questions, and how their answers are read.

Rows and labels stand in a question as JSON, so that where one ends is plain; whatever a row says, its answer is only
ever a text or one of the labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from labelwright.data.task import Label, Task
from labelwright.engines.servers.answers import read_answer
from labelwright.plain_text import printable
from programs.asking import Question

NOT_ROWS = "That is no JSON list of strings. Write the same again as one JSON list of strings, and nothing else."
NOT_A_LABEL = "That is none of the labels. Answer with one label, spelt as it is in the list, and nothing else."
# A row that is longer is a story about rows.
_LONGEST = 2000
_THOUGHT = re.compile(r"^.*</(?:think|thinking|thought|reasoning)>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Seed:
    """A real row that others are written after; ``id`` is that of a train row, empty for a row of the pool.

    Without a text there is no such row: a label that nobody gave yet has its name and description alone.
    """

    text: str
    id: str = ""


@dataclass(frozen=True)
class Order:
    """What is asked for at a time.

    Attributes
    ----------
    confusable : tuple of (label, text)
        Labels that are easily taken for this one, each with a train row of it.
    number : int
        The how many-th order of its label.
    """

    label: Label
    seed: Seed
    persona: str
    length: str
    confusable: tuple[tuple[str, str], ...]
    n_rows: int
    number: int = 0


def ask_for_rows(task: Task, order: Order, temperature: float, max_tokens: int) -> Question:
    """Rows of a label, after a seed row."""
    system = (
        "You write messages as real people send them. They are examples for a text classifier. Answer with one JSON "
        "list of strings and nothing else."
    )
    lines = [f"The classifier's task: {task.instructions}", f"The label: {_said(order.label)}"]
    if order.seed.id:
        lines.append(f"A real message of this label: {_json(order.seed.text)}")
    elif order.seed.text:
        lines.append(f"A real message, whose label nobody gave; take its style: {_json(order.seed.text)}")
    if order.confusable:
        lines.append("Other labels that are easily confused with it, and a message of each; yours must not be theirs:")
        lines += [f"- {_json(name)}: {_json(text)}" for name, text in order.confusable]
    unlike = " than the messages above; copy none of them" if order.seed.text or order.confusable else ""
    lines += [
        f"Write {order.n_rows} new messages whose right label is {_json(order.label.name)}. Each is about another "
        f"situation of that label{unlike}.",
        f"Who writes: {order.persona}. Length of each: {order.length}.",
        f"Answer with a JSON list of {order.n_rows} strings.",
    ]
    return Question(system, ("\n".join(lines),), temperature, max_tokens, order.number)


def ask_for_label(task: Task, labels: Sequence[Label], text: str, max_tokens: int) -> Question:
    """Which of some labels a row has; which one it was written for is not said."""
    system = "You label messages. Answer with the label that fits best, spelt as it is in the list, and nothing else."
    # What all these questions have in common comes first, so that a server need read it but once.
    lines = [task.instructions, "The labels:", *(f"- {_said(label)}" for label in labels)]
    return Question(system, ("\n".join([*lines, f"The message: {_json(text)}", "The label:"]),), 0.0, max_tokens)


def read_rows(answer: str, most: int) -> list[str] | None:
    """The texts that an answer lists, ``most`` at most; None where it is no such list.

    Thoughts before it and words or fences around it are passed over. An entry may be a text, or an object with one.

    Examples
    --------
    >>> read_rows('Sure!\\n```json\\n["the  pool\\\\nis green", {"message": "no heat"}]\\n```', 4)
    ['the pool is green', 'no heat']
    >>> read_rows('["cut off', 4), read_rows("1. the pool is green", 4), read_rows("[1, 2]", 4)
    (None, None, None)
    """
    answer = _THOUGHT.sub("", answer)
    begin, end = answer.find("["), answer.rfind("]")
    try:
        found = json.loads(answer[begin : end + 1]) if 0 <= begin < end else None
    except (ValueError, RecursionError):
        return None
    texts = [_text(one) for one in found] if isinstance(found, list) else []
    if not texts or None in texts:
        return None
    return [" ".join(text.split()) for text in texts if text is not None][:most]


def is_usable(text: str) -> bool:
    """Whether a text can be a row: something that people can see, not too long, and nothing that drives a terminal."""
    return bool(text.strip()) and len(text) <= _LONGEST and printable(text) == text


def read_label(answer: str, labels: Sequence[Label]) -> str | None:
    """The label that an answer means; None where it plainly means none."""
    names = [label.name for label in labels]
    meant = read_answer(answer, names)
    return None if meant is None else names[meant]


def _text(entry: object) -> str | None:
    if isinstance(entry, dict):
        texts = [value for value in entry.values() if isinstance(value, str)]
        entry = texts[0] if len(texts) == 1 else None
    return entry if isinstance(entry, str) else None


def _said(label: Label) -> str:
    return _json(label.name) + (f" ({label.description})" if label.description else "")


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
