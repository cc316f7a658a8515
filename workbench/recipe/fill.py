"""From a TOML table to a frozen dataclass: unknown keys, missing keys, wrong types and ranges are refused by name.

Knows tables, not recipes: ``recipe.py`` decides which table fills which dataclass. What a value may be is declared at
the dataclass's fields and checked by ``labelwright.settings``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from labelwright.errors import LabelwrightError, RecipeError
from labelwright.settings import hints_of, read_value, shown

T = TypeVar("T")


# What keys were called in recipes that are older.
_RENAMED = {"rungs": "candidates", "rung": "candidate", "hub_splits": "read_splits"}


def unknown_keys(keys: Iterable[str], known: Iterable[str], what: str = "key") -> list[str]:
    """A sentence for every key that is not known, with the nearest that is."""
    known = list(known)
    faults = []
    for key in keys:
        if key not in known and _RENAMED.get(key) in known:
            faults.append(f"{what} {shown(key)} is called {_RENAMED[key]!r} now: rename it")
        elif key not in known:
            near = difflib.get_close_matches(key[:100], known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"known {what}s are {', '.join(sorted(known))}"
            faults.append(f"unknown {what} {shown(key)}; {hint}")
    return faults


def read_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Fill a dataclass from a table.

    Parameters
    ----------
    cls : type
        A dataclass; its fields are the known keys, their annotations what is expected.
    where : str
        File and table, for messages.

    Raises
    ------
    RecipeError
        Unknown or missing keys, wrong types or ranges, and what the dataclass itself refuses, all in one line with
        ``where`` in front.
    """
    faults: list[str] = []
    read = fill(cls, table, faults, where.rpartition("[")[2].rstrip("]"))
    if read is None:
        raise RecipeError(f"{where}: {'; '.join(faults)}")
    return read


def fill(cls: type[T], table: Mapping[str, Any], faults: list[str], name: str = "") -> T | None:
    """``read_table`` that adds what is wrong to ``faults`` and returns None."""
    settings = [one for one in fields(cls) if one.init]  # type: ignore[arg-type]
    known = {one.name for one in settings}
    own = unknown_keys(table, [one.name for one in settings])
    for one in settings:
        if one.default is MISSING and one.default_factory is MISSING and one.name not in table:
            own.append(f"no {one.name!r}; it has no default, add it")
    hints = hints_of(cls)  # type: ignore[arg-type]
    values = {key: read_value(value, hints[key], key, own) for key, value in table.items() if key in known}
    if not own:
        try:
            return cls(**values)
        except LabelwrightError as error:
            # A stage names its table itself, for who builds it without a recipe.
            own.append(str(error).replace(f"[{name}] ", "").replace(f"{name}.", ""))
    faults.extend(own)
    return None
