"""Label descriptions as one text, a line a label, so that what rewrites instructions can rewrite them as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from labelwright.data.task import Label
from labelwright.errors import DataError
from labelwright.settings import shown

# A bullet, or a number.
_MARK = re.compile(r"^(?:[-*•]|\d+[.)]) ")


def write_descriptions(labels: Sequence[Label]) -> str:
    """A line a label: its name, a colon, and its description, which may be empty.

    >>> print(write_descriptions([Label("pool", "water to swim in"), Label("fence")]))
    pool: water to swim in
    fence:
    """
    return "\n".join(f"{label.name}: {_one_line(label.description)}".rstrip() for label in labels)


def read_descriptions(text: str, names: Sequence[str]) -> dict[str, str]:
    """The descriptions of such a text, by label name; of a label that is left out, none.

    A bullet or a number before a name, and a name in bold, are passed over, since language models like them. Where a
    name and its colon begin another name, the longer one is meant.

    Raises
    ------
    DataError
        A line that begins with no label's name and a colon, or two of one label.

    >>> read_descriptions("- fence: posts, panels", ["pool", "fence"])
    {'fence': 'posts, panels'}
    """
    found: dict[str, str] = {}
    for line in map(_one_line, text.splitlines()):
        if not line:
            continue
        read = [(name, said) for name in names for said in _said_of(_one_line(name), line)]
        if not read:
            raise DataError(f"{shown(line)} is no line of descriptions: begin it with a label and a colon")
        name, said = max(read, key=lambda known: len(_one_line(known[0])))
        if name in found:
            raise DataError(f"{shown(name)} is described twice: keep one line of it")
        found[name] = said
    return found


def _said_of(name: str, line: str) -> Iterator[str]:
    """What a line says of a label, where it can be read as one of that label."""
    for one in (line, _MARK.sub("", line), line.lstrip("-*• ")):
        for start in (f"{name}:", f"**{name}**:", f"**{name}:**"):
            if one.startswith(start):
                yield one.removeprefix(start).strip()


def with_descriptions(labels: Sequence[Label], descriptions: Mapping[str, str | None]) -> tuple[Label, ...]:
    """The labels with these descriptions; None, or none named, or the same but for white space, leaves its own."""
    return tuple(
        label if (said := descriptions.get(label.name)) is None or said == _one_line(label.description)
        else Label(label.name, said)
        for label in labels
    )  # fmt: skip


def _one_line(text: str) -> str:
    return " ".join(text.split())
