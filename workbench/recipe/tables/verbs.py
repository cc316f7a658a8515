"""``[demo]`` and ``[export]``: what these verbs do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labelwright.settings import Range
from workbench.recipe.tables.fields import Name, Names


@dataclass(frozen=True)
class DemoTable:
    """``[demo]``: what `make demo` compares, and how long it may take; `make compare` adds the rest.

    Attributes
    ----------
    candidates : tuple of str
        Of those in ``[baselines]`` and ``[models]``, beside the run's own steps; left out, all baselines that train no
        transformer.
    minutes : float
        A budget: stages and candidates that are not expected to fit in it are left out, by name. 0 is none.
    """

    candidates: Names = ()
    minutes: Annotated[float, Range(0, 100_000, expected="a number of minutes, or 0 for no limit")] = 0


@dataclass(frozen=True)
class ExportTable:
    """``[export]``: ``merge`` writes whole weights instead of an adapter; ``golden_rows`` come from dev.

    Attributes
    ----------
    candidate : str
        What is exported: the run's newest step where empty; "best" and "ship" are the verdict's; or a candidate's name.
    watch_rows : int
        Dev rows whose answers are counted at most, for ``labelwright watch`` to compare with; 0 for none.
    """

    candidate: Name = ""
    merge: bool = False
    golden_rows: Annotated[int, Range(1)] = 24
    watch_rows: Annotated[int, Range(0)] = 1000
