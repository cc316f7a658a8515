"""Label descriptions as one text, a line a label, so that what rewrites instructions can rewrite them as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labelwright.data.task import Label
from labelwright.errors import DataError
from labelwright.settings import shown


def write_descriptions(labels: Sequence[Label]) -> str:
    """A line a label: its name, a colon, and its description, which may be empty.

    >>> print(write_descriptions([Label("pool", "water to swim in"), Label("fence")]))
    pool: water to swim in
    fence:
    """
    return "\n".join(f"{label.name}: {_one_line(label.description)}".rstrip() for label in labels)


def read_descriptions(text: str, names: Sequence[str]) -> dict[str, str]:
    """The descriptions of such a text, by label name; of a label that is left out, none.

    A bullet before a name is passed over, since language models like them. Where a name and its colon begin another
    name, the longer one is meant.

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
        starts = {f"{_one_line(name)}:": name for name in names}
        read = [(start, name, one) for start, name in starts.items() for one in (line, line.lstrip("-*• "))
                if one.startswith(start)]  # fmt: skip
        if not read:
            raise DataError(f"{shown(line)} is no line of descriptions: begin it with a label and a colon")
        start, name, one = max(read, key=lambda known: len(known[0]))
        if name in found:
            raise DataError(f"{shown(name)} is described twice: keep one line of it")
        found[name] = one.removeprefix(start).strip()
    return found


def with_descriptions(labels: Sequence[Label], descriptions: Mapping[str, str | None]) -> tuple[Label, ...]:
    """The labels with these descriptions; None, or none named, or the same but for white space, leaves its own."""
    return tuple(
        label if (said := descriptions.get(label.name)) is None or said == _one_line(label.description)
        else Label(label.name, said)
        for label in labels
    )  # fmt: skip


def _one_line(text: str) -> str:
    return " ".join(text.split())
