"""Settings are held to what stands at their fields, whatever declares them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from labelwright.errors import RecipeError
from labelwright.settings import Check, Choice, Items, Range, Text, check, shown, url_fault


@dataclass
class Table:
    free: float = 1.0
    share: Annotated[float, Range(0, 1)] = 0.5
    steps: Annotated[int, Range(1)] = 1
    mode: Annotated[str, Choice(("a", "b"))] = "a"
    columns: Annotated[str, Text(least=1)] | Annotated[tuple[str, ...], Items(least=1)] = "text"

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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "columns = (): expected a list that is not empty"),
        (["a", 1], "columns[1] = 1: expected a text, found a whole number"),
        (["a", "a"], "columns = ('a', 'a'): expected each entry once, found 'a' twice"),
        ("", "columns = '': expected a text that is not empty"),
        (3, "columns = 3: expected a text or a list, found a whole number"),
    ],
)
def test_where_two_types_will_do_the_one_that_was_meant_says_what_is_wrong(given: Any, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Table(columns=given)
    assert str(caught.value) == f"[table] {said}"
    assert (Table(columns=["a", "b"]).columns, Table(columns="a").columns) == (["a", "b"], "a")


@pytest.mark.parametrize(
    "url",
    [
        "http://u:secret@h/v1",
        "http://secret@h",
        "http://h/v1?api_key=secret",
        "http://h/v1#secret",
        "http://u:se/secret@h",
    ],
)
def test_an_address_with_a_secret_in_it_is_refused_without_showing_it(url: str) -> None:
    @dataclass
    class Server:
        url: Annotated[str, Check(url_fault)]

        def __post_init__(self) -> None:
            check(self, "")

    with pytest.raises(RecipeError, match="a key belongs in LABELWRIGHT_API_KEY in the environment") as caught:
        Server(url)
    assert "secret" not in str(caught.value)
    assert Server("http://h:80/v1").url == "http://h:80/v1"


def test_where_two_addresses_stand_in_one_value_neither_shows_a_secret() -> None:
    assert shown(["http://h?k=1", "x?", "http://u:p@h#2"]) == "['http://h?…', 'x?', 'http://…@h?…']"
