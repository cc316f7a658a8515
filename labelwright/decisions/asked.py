"""What a bundle is asked to promise, as a recipe, a command or a request says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labelwright.settings import Range, check

Error = Annotated[float, Range(1e-6, 1, "[]", "a share of at least 0.000001 and at most 1, such as 0.05")]
Confidence = Annotated[float, Range(0, 1, "()", "a share between 0 and 1, such as 0.95")]


@dataclass(frozen=True)
class Asked:
    """Nothing, as it stands.

    Attributes
    ----------
    max_error : float
        Share of the answered rows that may be wrong; 1 asks for nothing, and every row is answered.
    confidence : float
        How often, over draws of the rows kept apart, the promise holds.
    by_label : bool
        It is to hold among the rows that are answered with each label, for all labels at once. A label of which that
        cannot be said is never answered.
    sets : float
        How often the right label is to be in the set of labels that goes with an answer; 0 gives no sets.

    Raises
    ------
    RecipeError
        Shares that are none.
    """

    max_error: Error = 1.0
    confidence: Confidence = 0.95
    by_label: bool = False
    sets: Annotated[float, Range(0, 1, "[)", "a share of at least 0 and below 1, such as 0.9")] = 0.0

    def __post_init__(self) -> None:
        check(self, "")

    @property
    def said(self) -> str:
        """The promise about errors, in words."""
        error, confidence = 100 * self.max_error, 100 * self.confidence
        return f"at most {error:g} % of the answered rows wrong, with {confidence:g} % confidence"


NOTHING = Asked()
