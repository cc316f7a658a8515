"""How numbers, dates and yes or no are written on pages. What could be read in two ways is not read."""

from __future__ import annotations

import re
from datetime import date

from labelwright.data.spelling import text_key

_NUMBER = re.compile(r"(?:[-−–]\s?)?(?:[$€£¥]\s?)?\d[\d.,'\u2019\u00a0\u202f]*(?<![.,'])")
# What multiplies the number before it ("1.2k", "3 million"): a page rounds there, and letters stand for several things.
_MAGNITUDE = re.compile(
    r"(?:[kmb]|\s?(?:k|bn|mn|mln|mio|mrd|tsd|dozen|hundred|thousand|million|billion|trillion|lakh|crore)s?)\b\.?", re.I
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    "(?<![A-Za-z])(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![A-Za-z])"
)
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?!\d)")
_DAY_MONTH = re.compile(r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)?\.?\s*" + _MONTH + r"\.?,?\s*(\d{4})(?!\d)", re.I)
_MONTH_DAY = re.compile(_MONTH + r"\.?\s*(\d{1,2})(?:st|nd|rd|th)?,?\s*(\d{4})(?!\d)", re.I)
_YES, _NO = frozenset({"yes", "true", "on", "checked"}), frozenset({"no", "false", "off", "unchecked"})


class UnclearError(ValueError):
    """What is written can be read in two ways, or is no value of its kind; the message says which."""


def numbers(text: str) -> list[tuple[float, int, int]]:
    """The numbers in a text, each with where it begins and ends.

    >>> [value for value, _, _ in numbers("2 x $1,234.50, 7,5 % and 1.234.567")]
    [2.0, 1234.5, 7.5, 1234567.0]
    """
    return [(value, start, end) for value, start, end in _found(text) if value is not None]


def number(text: str) -> float:
    """The only number in a text. Raises UnclearError where there is none, several, or one to be read in two ways."""
    found = _found(text)
    if any(value is None for value, _, _ in found):
        raise UnclearError(f"expected one number, found what could be several in {text[:60]!r}")
    if len(found) != 1 or found[0][0] is None:
        raise UnclearError(f"expected one number, found {len(found)} in {text[:60]!r}")
    return found[0][0]


def _found(text: str) -> list[tuple[float | None, int, int]]:
    """``numbers``, with those that could be read in two ways, as None."""
    found: list[tuple[float | None, int, int]] = []
    for match in _NUMBER.finditer(text):
        before, behind = text[: match.start()], text[match.end() :]
        if before[-1:].isalpha():  # part of a name, as in B2 and A-7
            continue
        try:
            value = None if _is_unclear(before, match.group(), behind) else _number(match.group())
        except UnclearError:
            value = None
        found.append((value, match.start(), match.end()))
    return found


def _is_unclear(before: str, written: str, behind: str) -> bool:
    """Whether what stands around a number may belong to it, or its minus may be a dash."""
    if written[0] in "-−–" and (written[1].isspace() or re.search(r"\w\s+$", before)):
        return True
    is_in_brackets = before.endswith("(") and behind.startswith(")")  # below zero, as accounts have it
    return bool(
        is_in_brackets
        or re.search(r"\d\s$", before)  # 12 345
        or re.match(r"[-−–](?!\w)", behind)  # 12.50-
        or _MAGNITUDE.match(behind)
    )


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
        if digits.startswith("0"):  # 0,500 is no five hundred, and what parts "1,500" beside it is then a question
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
        No date; several; one that there is not; "03/04/2024".

    Examples
    --------
    >>> date_of("12 March 1984"), date_of("Mar 12, 1984"), date_of("31/12/2024"), date_of("05/04/2024", "mdy")
    ('1984-03-12', '1984-03-12', '2024-12-31', '2024-05-04')
    """
    found = [
        (form, match) for form in (_YEAR_FIRST, _YEAR_LAST, _DAY_MONTH, _MONTH_DAY) for match in form.finditer(text)
    ]
    if len(found) > 1:
        raise UnclearError(f"{len(found)} dates in {text[:60]!r}")
    if not found:
        raise UnclearError(f"no date in {text[:60]!r}")
    form, match = found[0]
    if form is _YEAR_FIRST:
        return _iso(int(match[1]), int(match[2]), int(match[3]), text)
    if form is _DAY_MONTH:
        return _iso(int(match[3]), _month(match[2]), int(match[1]), text)
    if form is _MONTH_DAY:
        return _iso(int(match[3]), _month(match[1]), int(match[2]), text)
    first, mark, second, year = int(match[1]), match[2], int(match[3]), int(match[4])
    if not order:
        order = "dmy" if mark == "." or first > 12 else "mdy" if second > 12 else ""
    if not order and first != second:
        raise UnclearError(f"{match.group()!r} can be read with the day or the month first: say x-date-order")
    day, month = (second, first) if order == "mdy" else (first, second)
    return _iso(year, month, day, text)


def yes_no(text: str) -> bool:
    """Whether a text says yes. Raises UnclearError where it says neither."""
    key = text_key(text)
    if key in _YES or key in _NO:
        return key in _YES
    raise UnclearError(f"neither yes nor no: {text[:60]!r}")


def _month(word: str) -> int:
    return _MONTHS.index(word[:3].lower()) + 1


def _iso(year: int, month: int, day: int, text: str) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError as error:
        raise UnclearError(f"no such date: {text[:60]!r}") from error
