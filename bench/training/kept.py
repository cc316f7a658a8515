"""Trainings of a measurement that are over, one a line of a file: a killed measurement goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_kept(path: Path) -> dict[str, dict[str, Any]]:
    """Runs by key; what a killed process left half written is passed over."""
    kept = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        kept[one["key"]] = one
    return kept


def keep(path: Path, one: Mapping[str, Any]) -> None:
    """Append a run, which has a ``key``; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        # On a line of its own even where a killed process left half of one.
        lines.write("\n" + json.dumps(one) + "\n")
        lines.flush()
        os.fsync(lines.fileno())
