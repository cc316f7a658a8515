"""What was extracted against what is on the page, by field: right, null, or wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwright.data.spelling import text_key

RIGHT, NULL, WRONG = "right", "null", "wrong"


@dataclass
class Counts:
    """How often a field was read, by page, as pages differ and items of one page do not."""

    outcomes: list[str]
    pages: list[str]

    def n(self, outcome: str) -> int:
        """How often it was so."""
        return self.outcomes.count(outcome)


def judged(found: Any, right: Any) -> str:
    """Case and spaces do not count in texts. Null is right where the page has nothing.

    >>> judged("ada  Brown", "Ada Brown"), judged(12.5, 12.50), judged(None, 3), judged(4, None)
    ('right', 'right', 'null', 'wrong')
    """
    if isinstance(found, str) and isinstance(right, str):
        return RIGHT if text_key(found) == text_key(right) else WRONG
    if found is None and right is not None:
        return NULL
    return RIGHT if found == right and isinstance(found, bool) == isinstance(right, bool) else WRONG


def outcomes(found: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field's outcome; items are compared in order, and one too many or too few is wrong in all of its fields."""
    for name, value in right.items():
        if not isinstance(value, list):
            yield name, judged(found.get(name), value)
            continue
        items = found.get(name) or []
        for number in range(max(len(items), len(value))):
            if number < len(value):
                own = items[number] if number < len(items) else dict.fromkeys(value[number])
                for key in value[number]:
                    yield f"{name}.{key}", judged(own.get(key), value[number][key])
            else:
                for key in items[number]:
                    yield f"{name}.{key}", WRONG


def by_field(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Counts]:
    """Counts by field over pages, each with what was found and what is right."""
    counts: dict[str, Counts] = defaultdict(lambda: Counts([], []))
    for page, (found, right) in enumerate(pairs):
        for name, outcome in outcomes(found, right):
            counts[name].outcomes.append(outcome)
            counts[name].pages.append(str(page))
    return dict(counts)
