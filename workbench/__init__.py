"""Runs: from a recipe to tuned bundles, a comparison on test, a report, and the bundle that is exported.

Owns the verbs that a person types, run folders, and the order in which everything else is called. Nothing imports it
but the bench. It never implements a stage, a baseline or a metric, and everything it keeps survives a kill.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.api import Run, new

__all__ = ["Run", "new"]


def __getattr__(name: str) -> Any:
    # Only a notebook asks. By name: what this file imports counts as the code of every room's results.
    if name in __all__:
        return getattr(import_module("workbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
