"""A recipe as text: TOML with a comment behind each setting, which reads back as what was put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelwright.plain_text import printable_line

# Where comments begin, as in the recipes that ship, and how long a line may be.
_COMMENT_AT = 44
_LONGEST = 120


@dataclass(frozen=True)
class Line:
    """One setting, and why it is what it is."""

    key: str
    value: Any
    comment: str = ""


def recipe_text(head: Sequence[str], tables: Mapping[str, Sequence[Line]]) -> str:
    """The file's text.

    Parameters
    ----------
    head : sequence of str
        Comments at the beginning, a line each.
    tables : mapping of str to sequence of Line
        By name; the empty name stands for what is above the first table. Tables without lines are left out.
    """
    lines = [f"# {printable_line(one)}" for one in head]
    for name, settings in tables.items():
        if settings:
            lines += ["", *([f"[{name}]"] if name else []), *map(_written, settings)]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    r"""A value as TOML writes it.

    >>> print(toml_value(['a "b"', True, 3, 0.05]), toml_value("tab\t, end"))
    ["a \"b\"", true, 3, 0.05] "tab\u0009, end"
    """
    if isinstance(value, str):
        return f'"{"".join(map(_sign, value))}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sign(one: str) -> str:
    """A character within quotes: what would end them, or is not seen as what it is, is escaped."""
    if one in '"\\':
        return f"\\{one}"
    return one if one.isprintable() else f"\\U{ord(one):08x}" if ord(one) > 0xFFFF else f"\\u{ord(one):04x}"


def _written(line: Line) -> str:
    setting = f"{line.key} = {toml_value(line.value)}"
    if len(setting) > _LONGEST and isinstance(line.value, list | tuple):
        setting = "\n".join([f"{line.key} = [", *_wrapped(line.value), "]"])
    if not line.comment:
        return setting
    comment = f"# {printable_line(line.comment)}"
    beside = f"{setting:<{_COMMENT_AT - 1}} {comment}"
    return beside if "\n" not in setting and len(beside) <= _LONGEST else f"{comment}\n{setting}"


def _wrapped(values: Sequence[Any]) -> list[str]:
    """Entries of a long list, as many on a line as fit."""
    lines = [""]
    for value in map(toml_value, values):
        if lines[-1] and len(lines[-1]) + len(value) + 6 > _LONGEST:
            lines.append("")
        lines[-1] += f" {value}," if lines[-1] else f"    {value},"
    return lines
