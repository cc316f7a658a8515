"""How numbers, dates and yes or no are written on pages. What could be read in two ways is not read."""

from __future__ import annotations

import re
from datetime import date

from labelwright.data.spelling import text_key

_NUMBER = re.compile(r"(?:[-−–]\s?)?(?:[$€£¥]\s?)?\d[\d.,'\u2019\u00a0\u202f]*(?<![.,'])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?!\d)")
_DAY_MONTH = re.compile(r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)?\.?\s*([A-Za-z]{3,9})\.?,?\s*(\d{4})(?!\d)")
_MONTH_DAY = re.compile(r"([A-Za-z]{3,9})\.?\s*(\d{1,2})(?:st|nd|rd|th)?,?\s*(\d{4})(?!\d)")
_YES, _NO = frozenset({"yes", "true", "on", "checked"}), frozenset({"no", "false", "off", "unchecked"})


class UnclearError(ValueError):
    """What is written can be read in two ways, or is no value of its kind; the message says which."""


def numbers(text: str) -> list[tuple[float, int, int]]:
    """The numbers in a text, each with where it begins and ends.

    >>> [value for value, _, _ in numbers("2 x $1,234.50, 7,5 % and 1.234.567")]
    [2.0, 1234.5, 7.5, 1234567.0]
    """
    found = []
    for match in _NUMBER.finditer(text):
        if text[: match.start()][-1:].isalpha():  # part of a name, as in B2 and A-7
            continue
        try:
            found.append((_number(match.group()), match.start(), match.end()))
        except UnclearError:
            continue
    return found


def number(text: str) -> float:
    """The only number in a text. Raises UnclearError where there is none, or several."""
    found = numbers(text)
    if len(found) != 1:
        raise UnclearError(f"expected one number, found {len(found)} in {text[:60]!r}")
    return found[0][0]


def _number(written: str) -> float:
    r"""A number: of two kinds of marks the last is the decimal one; one mark that parts by threes, when it is no point.

    A single point is decimal, as "1.234" is far more often so on screens.
    """
    sign = -1.0 if written[0] in "-−–" else 1.0
    digits = re.sub(r"[^\d.,]", "", written)
    marks = [one for one in digits if one in ".,"]
    if len(set(marks)) == 2:
        decimal = marks[-1]
        if marks.count(decimal) > 1:
            raise UnclearError(written)
        digits = digits.replace("," if decimal == "." else ".", "").replace(decimal, ".")
    elif marks and (len(marks) > 1 or (marks[0] == "," and re.fullmatch(r"\d{1,3},\d{3}", digits))):
        if not re.fullmatch(r"\d{1,3}([.,]\d{3})+", digits):
            raise UnclearError(written)
        digits = digits.replace(marks[0], "")
    else:
        digits = digits.replace(",", ".")
    return sign * float(digits)


def date_of(text: str, order: str = "") -> str:
    """The date in a text, as ISO 8601 has it.

    Parameters
    ----------
    order : {"", "dmy", "mdy"}
        Of dates of numbers alone, year last. Without it points say day first, and a day above 12 tells itself.

    Raises
    ------
    UnclearError
        No date; one that there is not; "03/04/2024".

    Examples
    --------
    >>> date_of("12 March 1984"), date_of("Mar 12, 1984"), date_of("31/12/2024"), date_of("05/04/2024", "mdy")
    ('1984-03-12', '1984-03-12', '2024-12-31', '2024-05-04')
    """
    if match := _YEAR_FIRST.search(text):
        return _iso(int(match[1]), int(match[2]), int(match[3]), text)
    if match := _YEAR_LAST.search(text):
        first, mark, second, year = int(match[1]), match[2], int(match[3]), int(match[4])
        if not order:
            order = "dmy" if mark == "." or first > 12 else "mdy" if second > 12 else ""
        if not order and first != second:
            raise UnclearError(f"{match.group()!r} can be read with the day or the month first: say x-date-order")
        day, month = (second, first) if order == "mdy" else (first, second)
        return _iso(year, month, day, text)
    if match := _DAY_MONTH.search(text):
        return _iso(int(match[3]), _month(match[2]), int(match[1]), text)
    if match := _MONTH_DAY.search(text):
        return _iso(int(match[3]), _month(match[1]), int(match[2]), text)
    raise UnclearError(f"no date in {text[:60]!r}")


def yes_no(text: str) -> bool:
    """Whether a text says yes. Raises UnclearError where it says neither."""
    key = text_key(text)
    if key in _YES or key in _NO:
        return key in _YES
    raise UnclearError(f"neither yes nor no: {text[:60]!r}")


def _month(word: str) -> int:
    if (short := word[:3].lower()) not in _MONTHS:
        raise UnclearError(f"no month: {word!r}")
    return _MONTHS.index(short) + 1


def _iso(year: int, month: int, day: int, text: str) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError as error:
        raise UnclearError(f"no such date: {text[:60]!r}") from error
