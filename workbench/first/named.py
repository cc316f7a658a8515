"""What a person said of rows to begin with; by itself, so that a command's help needs nothing that reads rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """What a person typed; empty where nothing was. Several columns may be the text, a list or with commas between."""

    data: str
    test: str = ""
    name: str = ""
    text: str | Sequence[str] = ""
    label: str = ""
    group: str = ""
    config: str = ""

    @property
    def columns(self) -> dict[str, str | Sequence[str]]:
        """Columns that were named, by role."""
        return {role: name for role in ("text", "label", "group") if (name := getattr(self, role))}
