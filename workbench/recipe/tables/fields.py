"""What a key of a recipe may be, where several tables say the same."""

from __future__ import annotations

from typing import Annotated

from labelwright.settings import Items, Range, Text

Name = Annotated[str, Text()]
Needed = Annotated[str, Text(least=1)]
Names = Annotated[tuple[Needed, ...], Items()]
# A spreadsheet's header may have lines.
Column = Annotated[str, Text(lines=True)]
NeededColumn = Annotated[str, Text(least=1, lines=True)]
Share = Annotated[float, Range(0, 1, "()", "a share between 0 and 1, such as 0.15")]
Price = Annotated[float, Range(0)]
