"""Numbers and dates as pages have them; what could be read in two ways is not read."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.pictures.typed.values import UnclearError, date_of, number, numbers, yes_no


@given(st.decimals(0, 10**7, places=2))
def test_sums_are_read_as_both_sides_of_the_atlantic_write_them(amount):
    english = f"{amount:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    for written in (english, german, f"{amount:.2f}", f"$ {english}", f"{german} €", f"EUR {german}"):
        assert number(written) == float(amount), written
    assert number(f"-{english}") == number(f"−{german}") == number(f"-$ {english}") == -float(amount)


@pytest.mark.parametrize(
    ("written", "value"),
    [("1,234", 1234), ("1.234", 1.234), ("12,5 %", 12.5), ("1'234.50", 1234.5), ("1.234.567", 1234567), ("7.", 7)],
)
def test_one_kind_of_mark(written, value):
    assert number(written) == value


@pytest.mark.parametrize("written", ["", "none", "2 of 3", "1.2.3", "1,23,4", "B2", "A-7", "10-12", "3,4.5,6"])
def test_no_number_or_several_are_refused(written):
    with pytest.raises(UnclearError, match="expected one number"):
        number(written)


@pytest.mark.parametrize(
    "written",
    ["1.2k", "12K", "3 million", "5 Mio.", "12 345", "ada – 128", "ada -128", "- 5", "0,500 kg", "(12.50)", "12.50-"],
)
def test_what_could_be_another_number_is_refused(written):
    with pytest.raises(UnclearError, match="could be several"):
        number(written)


@pytest.mark.parametrize(
    ("written", "value"), [("5 kg", 5), ("5km", 5), ("3 months", 3), ("5-star", 5), ("0.500", 0.5)]
)
def test_units_are_no_magnitudes(written, value):
    assert number(written) == value


def test_numbers_know_where_they_stand():
    assert numbers("7 points | 45") == [(7.0, 0, 1), (45.0, 11, 13)]


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_dates_in_words_and_iso_are_read(day):
    in_words = (f"{day.day} {day:%B} {day.year}", f"on {day:%b} {day.day}, {day.year}.")
    spelt = (day.isoformat(), *in_words, f"{day:%d.%m.%Y}")
    assert {date_of(one) for one in spelt} == {day.isoformat()}
    assert date_of(f"{day:%m/%d/%Y}", "mdy") == date_of(f"{day:%d/%m/%Y}", "dmy") == day.isoformat()
    # Without an order only where the day tells itself.
    if day.day > 12:
        assert date_of(f"{day:%m/%d/%Y}") == date_of(f"{day:%d/%m/%Y}") == day.isoformat()
    elif day.day != day.month:
        with pytest.raises(UnclearError, match="say x-date-order"):
            date_of(f"{day:%m/%d/%Y}")


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "2024-02-31",
        "31 Foo 2024",
        "99.99.2024",
        "123456",
        "12 maybe 2024",
        "decision 12 2024",
        "1 May 2024 to 3 May 2024",
        "2024-01-02, 05.06.2024",
    ],
)
def test_other_dates_are_refused(written):
    with pytest.raises(UnclearError):
        date_of(written)


def test_yes_and_no():
    assert (yes_no("Yes"), yes_no(" no ")) == (True, False)
    with pytest.raises(UnclearError):
        yes_no("maybe")
