"""Runs: from a recipe to tuned bundles, a comparison on test, a report, and the bundle that is exported.

Owns the verbs that a person types, run folders, and the order in which everything else is called. Nothing imports it
but the bench. It never implements a stage, a baseline or a metric, and everything it keeps survives a kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.api import Run, new

__all__ = ["Run", "new"]


def __getattr__(name: str) -> Any:
    # Only a notebook asks: the command line answers before all of this is imported.
    if name in __all__:
        from workbench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
