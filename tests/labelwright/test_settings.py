"""Settings are held to what stands at their fields, whatever declares them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import pytest

from labelwright.errors import RecipeError
from labelwright.settings import Choice, Range, check


@dataclass
class Table:
    free: float = 1.0
    share: Annotated[float, Range(0, 1)] = 0.5
    steps: Annotated[int, Range(1)] = 1
    mode: Annotated[str, Choice(("a", "b"))] = "a"

    def __post_init__(self) -> None:
        check(self, "[table] ")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["free", "share"])
def test_no_setting_may_be_a_number_that_is_none(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"\[table\] {name} = {value}: expected a finite number"):
        Table(**{name: value})


@pytest.mark.parametrize(
    "given",
    [{"steps": True}, {"steps": 1.5}, {"steps": 0}, {"share": "0.5"}, {"share": 1.1}, {"mode": "c"}, {"mode": 1}],
)
def test_types_ranges_and_choices_are_checked(given: dict) -> None:
    (name,) = given
    with pytest.raises(RecipeError, match=rf"\[table\] {name} = "):
        Table(**given)


def test_whole_numbers_serve_as_numbers() -> None:
    assert Table(free=2, share=1).share == 1
