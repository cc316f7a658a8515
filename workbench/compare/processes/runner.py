"""Who runs a comparison's works: the recipe says."""

from __future__ import annotations

from workbench.compare.jobs import Comparison
from workbench.compare.processes.cluster import Cluster
from workbench.compare.processes.pool import Processes
from workbench.compare.processes.work import OneByOne, Runner


def open_runner(comparison: Comparison) -> Runner:
    """What the recipe's ``[compare] engine`` names. Raises MissingExtraError where its library is not installed."""
    recipe, run = comparison.recipe, comparison.folder.path
    if recipe.compare.engine == "ray":
        return Cluster(recipe.path, run, recipe.compare.address)
    return OneByOne(Processes(recipe.path, run))
