"""What is wrong with a recipe: collected by table, told in one line; and the rules for names and addresses in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labelwright.errors import RecipeError
from workbench.recipe.fill import fill

# Folder names that Windows keeps for devices.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
# Of what lies beside the recipes' folders: recipes, the tracking store, its journal and lock, its artifacts.
_TAKEN = re.compile(r".*\.(toml|db|lock|tmp)|.*\.db-.*|mlartifacts|mlruns")


def name_fault(name: str) -> str:
    """What is wrong with a recipe's name, or an empty text: it names a folder, an experiment and a model."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        return "it names a folder; use letters, digits, '.', '_' and '-'"
    if len(name) > 100:
        return f"it names a folder; use at most 100 characters, found {len(name)}"
    if name.endswith(".") or _DEVICES.fullmatch(name.lower()) or _TAKEN.fullmatch(name.lower()):
        return "it names a folder, and files of that name lie beside the runs; use another"
    return ""


def store_fault(uri: str) -> str:
    """What was expected of a tracking store's address, or an empty text."""
    scheme, colon, rest = uri.partition("://")
    known = ("sqlite", "http", "https", "file", "postgresql", "mysql", "mssql", "databricks", "databricks-uc", "uc")
    if not colon:
        return "" if not uri or uri in known else 'an address such as "sqlite:///runs/mlflow.db" or "http://host:5000"'
    if scheme.partition("+")[0] not in known or (not rest.strip("/ ") and scheme not in ("databricks", "file")):
        return f"an address that begins with one of {', '.join(f'{one}://' for one in known[:7])}"
    return ""


def address_fault(address: str) -> str:
    """What was expected of a Ray cluster's address, or an empty text."""
    is_known = not address or address == "auto" or re.fullmatch(r"[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", address)
    return "" if is_known else 'an address such as "10.0.0.7:6379", or "auto"'


class Faults:
    """What is wrong with a recipe, by table."""

    _MOST_TOLD = 12

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, table: str, faults: Iterable[str]) -> None:
        """Of a table; an empty name stands for what is above the first."""
        self.found += [(table, fault) for fault in faults]

    def read(self, cls: type, values: Mapping[str, Any], table: str) -> Any:
        """The table's dataclass, or None where something is wrong with it."""
        own: list[str] = []
        read = fill(cls, values, own, table)
        self.add(table, own)
        return read

    def raise_for(self, path: Path) -> None:
        """Raise RecipeError with all of them in one line, or do nothing where there are none."""
        told = [f"[{table}]: {fault}" if table else fault for table, fault in self.found[: self._MOST_TOLD]]
        where = path if path.as_posix().isprintable() else repr(str(path))
        if len(self.found) == 1:
            raise RecipeError(f"{where}{', ' if self.found[0][0] else ': '}{told[0]}")
        if told:
            more = len(self.found) - len(told)
            raise RecipeError(
                f"{where}: {len(self.found)} faults: {'; '.join(told)}" + (f"; and {more} more" if more else "")
            )
