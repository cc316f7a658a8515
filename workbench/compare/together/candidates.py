"""Which candidates are made of others, and of which: by the recipe's tables alone, whether those ran or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workbench.recipe.recipe import Recipe
from workbench.recipe.stages import BLIND, CASCADE, ENSEMBLE, ENSEMBLE_LIGHT

ABOUT = {
    ENSEMBLE: "a weighted mean of other candidates, chosen on dev",
    ENSEMBLE_LIGHT: "a weighted mean of candidates without a transformer of their own, chosen on dev",
    CASCADE: "the cheapest candidate answers where it is sure enough, others the rest",
}


def made_of(recipe: Recipe, singles: Sequence[str], is_heavy: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    """Candidates that are made of others, each with those that it may be made of: two at least.

    Parameters
    ----------
    singles : sequence of str
        The comparison's other candidates that give probabilities.
    is_heavy : callable
        Whether a candidate trains or asks a transformer of its own.
    """
    usable = [name for name in singles if name not in BLIND]
    found: dict[str, tuple[str, ...]] = {}
    if recipe.ensemble.most_members:
        found[ENSEMBLE] = _of(recipe.ensemble.members, usable)
        light = tuple(name for name in found[ENSEMBLE] if not is_heavy(name))
        # Where nobody is heavy, it would be the same again.
        if len(light) < len(found[ENSEMBLE]):
            found[ENSEMBLE_LIGHT] = light
    # A level answers a whole row, and is not sure of all points of it alike.
    if recipe.cascade.most_levels and not recipe.has_points:
        found[CASCADE] = _of(recipe.cascade.members, usable)
    return {name: members for name, members in found.items() if len(members) > 1}


def table_of(recipe: Recipe, name: str) -> Any:
    """The recipe's table for a candidate that is made of others."""
    return recipe.cascade if name == CASCADE else recipe.ensemble


def _of(members: Sequence[str], usable: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in usable if not members or name in members)
