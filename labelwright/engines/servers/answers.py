"""What a server's free answer says, read where its meaning is plain.

Servers wrap a label in a thought, a code fence, JSON, quotes; they write it in another case, or as a sentence with its
full stop. All of that is taken off here and nowhere else. What is no label then is no answer: nothing is searched for
inside prose, for "not b" names b as well.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

_THOUGHT = re.compile(r"</?(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_UP_TO_THOUGHTS_END = re.compile(r"^.*</(?:think|thinking|thought|reasoning)>", re.IGNORECASE | re.DOTALL)
_OBJECT = re.compile(r"\{[^{}]*\}")
# A run of marks is tried from its beginning only: a model may write thousands of them.
_FENCE = re.compile(
    r"(?P<fence>(?<!`)```+|(?<!~)~~~+)[ \t]*[\w+-]*[ \t]*\n(?P<inside>.*?)\n?[ \t]*(?P=fence)", re.DOTALL
)
_SHORT_FENCE = re.compile(r"(?P<fence>`+)(?P<inside>[^`]+)(?P=fence)")
_CUE = re.compile(r"(?:label|answer)\s*[:=]\s*(?P<inside>.+)", re.IGNORECASE | re.DOTALL)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "„": "“", "«": "»", "「": "」", "**": "**", "*": "*"}
_STOPS = (".", "。")
# Wrappings inside one another; more are no way to answer.
_DEPTH = 8
_KEY = "label"


def read_answer(text: str, labels: Sequence[str]) -> int | None:
    """The position of the label that an answer means, or None where it means none, or not plainly one.

    A label as it stands goes before one in another case, and that must then be the only one.

    Parameters
    ----------
    text : str
        All that the server said.
    labels : sequence of str

    Examples
    --------
    >>> labels = ["a", "b"]
    >>> read_answer('<think>\\n\\n</think>\\n\\n{"label": "b"}', labels), read_answer("B.", labels)
    (1, 1)
    >>> read_answer("a or b", labels), read_answer("<think>it may be b", labels)
    (None, None)
    """
    if text in labels:
        return list(labels).index(text)
    forms = list(dict.fromkeys(_forms(text, _DEPTH)))
    for same in (_spaced, _folded):
        known = [same(label) for label in labels]
        for form in forms:
            if known.count(same(form)) == 1:
                return known.index(same(form))
    return None


def without_thoughts(text: str) -> str:
    """What stands behind the last thought of an answer that is more than a label.

    >>> without_thoughts("<think>[1]?</think> [2]")
    ' [2]'
    """
    return _UP_TO_THOUGHTS_END.sub("", text)


def behind_thought(text: str) -> str | None:
    """What stands behind the one thought of an answer that is a JSON object; None where that is not plain.

    A row may have been repeated there, with the end of a thought in it: several ends, or an object before the thought,
    leave open which object is the answer.

    >>> behind_thought('<think>{"b": 1}?</think> {"b": 2}'), behind_thought('{"b": 2} It said </think>{"b": 1}')
    (' {"b": 2}', None)
    """
    tags = list(_THOUGHT.finditer(text))
    ends = [tag for tag in tags if tag.group().startswith("</")]
    if not ends:
        # One that was never closed has no answer behind it; within the object a tag is a part of what it says.
        return None if tags and "{" not in text[: tags[0].start()] else text
    if len(ends) > 1 or _OBJECT.search(text[: tags[0].start()]):
        return None
    return text[ends[0].end() :]


def _forms(text: str, depth: int) -> Iterator[str]:
    """The answer, and what is left of it when what is wrapped around it is taken off, layer by layer."""
    text = text.strip()
    if depth == 0 or not text:
        return
    yield text
    thoughts = list(_THOUGHT.finditer(text))
    # Inside JSON they are part of what it says.
    if thoughts and _said_in_json(text) is None:
        # After the last thought; one that was never closed has no answer behind it.
        if thoughts[-1].group().startswith("</"):
            yield from _forms(text[thoughts[-1].end() :], depth - 1)
        return
    for inside in _unwrapped(text):
        yield from _forms(inside, depth - 1)


def _unwrapped(text: str) -> Iterator[str]:
    """What an answer is without its outermost wrapping: one text, or none."""
    fenced = list(_FENCE.finditer(text))
    if len(fenced) == 1 and (fenced[0].group() == text or _said_in_json(fenced[0]["inside"]) is not None):
        # Around JSON there may be prose, for the fence says which part is meant.
        yield fenced[0]["inside"]
    elif (said := _said_in_json(text)) is not None:
        yield said
    elif whole := _SHORT_FENCE.fullmatch(text) or _CUE.fullmatch(text):
        yield whole["inside"]
    elif (pair := next((one for one in _QUOTES if _is_quoted(text, one)), None)) is not None:
        yield text[len(pair) : -len(_QUOTES[pair])]
    elif text.endswith(_STOPS):
        yield text[:-1]


def _said_in_json(text: str) -> str | None:
    """The one thing that a JSON answer says: its "label", its only value, a bare string; None where it is no such."""
    try:
        # Numbers and constants as they are spelt: a label may be "1", "1.0" or "true".
        value = json.loads(text, object_pairs_hook=_only_value, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, bool):
        said = json.dumps(value)
        return None if said == text.strip() else said
    # What was no quoted string is spelt as the text itself: nothing was taken off.
    return value if isinstance(value, str) and value != text.strip() else None


def _only_value(pairs: list[tuple[str, Any]]) -> Any:
    """The value under "label", or the only one; an empty list, which says nothing, where there is no such."""
    named = [value for key, value in pairs if key.strip().casefold() == _KEY]
    values = named or [value for _, value in pairs]
    return values[0] if len(values) == 1 else []


def _is_quoted(text: str, quote: str) -> bool:
    close = _QUOTES[quote]
    inside = text[len(quote) : -len(close)]
    return text.startswith(quote) and text.endswith(close) and bool(inside.strip()) and quote not in inside


def _spaced(text: str) -> str:
    """Equal for texts that read alike: one normal form, space evened out."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", _spaced(text).casefold())
