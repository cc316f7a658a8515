"""Settings as they are declared: types, ranges and choices stand at the fields, and are checked here and nowhere else.

A field says what it may be by its annotation: ``Annotated[int, Range(1)]``, ``Literal["a", "b"]``,
``tuple[Annotated[float, Range(0)], ...]``, ``Annotated[str, Text(lines=True)]``. Every value is held to what no setting
of the house may be besides: a number that is not finite, a text with control characters. Faults are collected, so that
a person hears of all at once. Knows neither recipes nor what settings are for.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from labelwright.errors import RecipeError
from labelwright.plain_text import without_passwords

# Seeds, counts and sizes end up in libraries that take 32 bits.
LARGEST = 2**31 - 1
_SHOWN = 60

# Value, annotation, name and faults so far, to the value as it is wanted.
Reader = Callable[[Any, Any, str, list[str]], Any]


@dataclass(frozen=True)
class Range:
    """Numbers from ``least`` to ``most``.

    Attributes
    ----------
    ends : {"[]", "[)", "(]", "()"}
        A round bracket leaves the end itself out.
    expected : str
        What to say instead of naming the end that was passed, such as "a share between 0 and 1".
    """

    least: float = -math.inf
    most: float = math.inf
    ends: str = "[]"
    expected: str = ""

    def fault(self, value: float) -> str:
        """What was expected; empty where the value is in the range."""
        if not (value >= self.least if self.ends[0] == "[" else value > self.least):
            said = f"{self.least:g} or more" if self.ends[0] == "[" else f"a number above {self.least:g}"
        elif not (value <= self.most if self.ends[1] == "]" else value < self.most):
            said = f"at most {self.most:.12g}" if self.ends[1] == "]" else f"a number below {self.most:g}"
        else:
            return ""
        return self.expected or said


@dataclass(frozen=True)
class Text:
    """Texts of ``least`` to ``most`` characters, of which as many are no space; of one line unless ``lines``."""

    least: int = 0
    most: int = 1000
    lines: bool = False

    def fault(self, value: str) -> str:
        """What was expected; empty where the text will do."""
        if len(value) > self.most:
            return f"at most {self.most} characters, found {len(value)}"
        if not self.lines and len(value.splitlines()) > 1:
            return "a text of one line"
        if any((ord(one) < 32 and one not in "\t\n\r") or 127 <= ord(one) < 160 for one in value):
            return "a text without control characters"
        return "a text that is not empty" if len(value.strip()) < self.least else ""


@dataclass(frozen=True)
class Items:
    """Lists of ``least`` to ``most`` entries, no two alike where ``distinct``."""

    least: int = 0
    most: int = 10_000
    distinct: bool = True

    def fault(self, value: Sequence[Any]) -> str:
        """What was expected; empty where the list will do."""
        if len(value) < self.least:
            return f"{self.least} entries at least" if self.least > 1 else "a list that is not empty"
        if len(value) > self.most:
            return f"at most {self.most} entries, found {len(value)}"
        twice = [one for number, one in enumerate(value) if self.distinct and one in value[:number]]
        return f"each entry once, found {shown(twice[0])} twice" if twice else ""


@dataclass(frozen=True)
class Choice:
    """One of these names: as ``Literal``, where the names have their home elsewhere."""

    names: Collection[str]

    def fault(self, value: str) -> str:
        """What was expected; empty where the value is one of them."""
        return "" if value in self.names else f"one of {', '.join(map(repr, self.names))}"


@dataclass(frozen=True)
class Check:
    """Whatever a function finds fault with: it returns what was expected, or an empty text."""

    find: Callable[[Any], str]

    def fault(self, value: Any) -> str:
        """What the function says."""
        return self.find(value)


# Shares, as most tables have some.
SHARE = Range(0, 1)
BELOW_ONE = Range(0, 1, "[)", "0 or more, and less than 1")
ABOVE_ZERO = Range(0, ends="(]")


def check(settings: Any, before: str) -> None:
    """Hold a dataclass's values to its own annotations, from its ``__post_init__``.

    Parameters
    ----------
    before : str
        Stands before every fault: "[grpo] ".

    Raises
    ------
    RecipeError
        With all faults in one line.
    """
    hints = hints_of(type(settings))  # type: ignore[arg-type]
    faults: list[str] = []
    for one in fields(settings):
        read_value(getattr(settings, one.name), hints[one.name], one.name, faults)
    if faults:
        raise RecipeError("; ".join(before + fault for fault in faults))


@cache
def hints_of(cls: type) -> Mapping[str, Any]:
    """A dataclass's annotations by field, evaluated."""
    return get_type_hints(cls, include_extras=True)


def read_value(value: Any, hint: Any, name: str, faults: list[str], read_plain: Reader | None = None) -> Any:
    """The value as the annotation wants it; what is wrong with it is added to ``faults``, with the name in front.

    Parameters
    ----------
    read_plain : function of the same value, hint, name and faults, optional
        Reads what is no union, list or table. By default what a setting may be.
    """
    plain = read_plain or _read_plain
    origin, arguments = get_origin(hint), get_args(hint)
    before = len(faults)
    if origin is Annotated:
        value = read_value(value, arguments[0], name, faults, plain)
        if len(faults) == before and value is not None:
            found = next((said for one in arguments[1:] if (said := one.fault(value))), "")
            if found:
                faults.append(f"{name} = {shown(value)}: expected {found}")
        return value
    if hint is Any:
        return _read_any(value, name, faults, plain)
    if origin is Literal:
        if not (value in arguments and type(value) in {type(one) for one in arguments}):
            faults.append(f"{name} = {shown(value)}: expected one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _read_union(value, arguments, name, faults, plain)
    if origin in (tuple, list) or hint in (tuple, list):
        return _read_sequence(value, hint, name, faults, plain)
    if isinstance(origin or hint, type) and issubclass(origin or hint, Mapping):
        if not isinstance(value, Mapping):
            faults.append(wrong_type(name, value, "a table"))
            return value
        inner = arguments[1] if len(arguments) == 2 else Any
        return {key: read_value(one, inner, f"{name}.{key}", faults, plain) for key, one in value.items()}
    return plain(value, hint, name, faults)


def url_fault(url: str) -> str:
    """What was expected of a server's address, or an empty text: settings are recorded, and nobody's key is."""
    if any(one in url for one in "@?#"):
        return "a URL without a user, a key, ? or # in it: a key belongs in LABELWRIGHT_API_KEY in the environment"
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    return "" if not url or (whole and " " not in url) else 'a URL such as "http://127.0.0.1:8000/v1"'


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, not longer than a person reads, no password or query in a URL."""
    text = re.sub(r"(://[^\s'\"?#]*)[?#][^\s'\"]*", r"\1?…", without_passwords(repr(value)))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _read_plain(value: Any, hint: Any, name: str, faults: list[str]) -> Any:
    if hint is float and type(value) is int:
        value = float(value) if abs(value) <= LARGEST else math.inf
    # TOML's true is also a Python int: a switch is not a number.
    if not (type(value) is hint or (isinstance(value, hint) and not isinstance(value, bool))):
        faults.append(wrong_type(name, value, NAMES.get(hint, getattr(hint, "__name__", str(hint)))))
    elif hint is float and not math.isfinite(value):
        faults.append(f"{name} = {value}: expected a finite number")
    elif hint is int and abs(value) > LARGEST:
        faults.append(f"{name} = {shown(value)}: expected a whole number of at most {LARGEST}")
    elif hint is str and (found := Text(most=100_000, lines=True).fault(value)):
        faults.append(f"{name} = {shown(value)}: expected {found}")
    return value


def _read_any(value: Any, name: str, faults: list[str], plain: Reader) -> Any:
    """A value whose type is checked elsewhere: held to what no value may be."""
    if isinstance(value, Mapping):
        return {key: _read_any(one, f"{name}.{key}", faults, plain) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_read_any(one, f"{name}[{number}]", faults, plain) for number, one in enumerate(value)]
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return plain(value, kind, name, faults)
    if value is not None:
        faults.append(wrong_type(name, value, "a text, a number, true or false, a list or a table"))
    return value


def _read_union(value: Any, arguments: tuple[Any, ...], name: str, faults: list[str], plain: Reader) -> Any:
    kinds = [one for one in arguments if one is not type(None)]
    said: list[str] = []
    if value is None and len(kinds) < len(arguments):
        return None
    for kind in kinds:
        own: list[str] = []
        read = read_value(value, kind, name, own, plain)
        if not own:
            return read
        # What is wrong with a list is said by whoever takes lists, not by whoever takes texts.
        is_meant = isinstance([*value] if isinstance(value, tuple) else value, _type_of(kind))
        said = own if len(kinds) == 1 or is_meant else said
    faults.extend(said or [wrong_type(name, value, " or ".join(NAMES.get(_type_of(one), str(one)) for one in kinds))])
    return value


def _type_of(hint: Any) -> Any:
    """The type that an annotation is about, ``list`` for all lists; () where it is none."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    kind = get_origin(hint) or hint
    return list if kind is tuple else kind if isinstance(kind, type) else ()


def _read_sequence(value: Any, hint: Any, name: str, faults: list[str], plain: Reader) -> Any:
    if not isinstance(value, (list, tuple)):
        faults.append(wrong_type(name, value, "a list"))
        return value
    arguments, kind = get_args(hint), get_origin(hint) or hint
    if not arguments:
        return tuple(_read_any(value, name, faults, plain))
    if kind is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            faults.append(wrong_type(name, value, f"a list of {len(arguments)} values"))
            return value
        kinds = list(arguments)
    else:
        kinds = [arguments[0]] * len(value)
    read = [read_value(one, kinds[number], f"{name}[{number}]", faults, plain) for number, one in enumerate(value)]
    return kind(read)


def wrong_type(name: str, value: Any, expected: str) -> str:
    """What to say of a value of another type than expected."""
    return f"{name} = {shown(value)}: expected {expected}, found {NAMES.get(type(value), 'something else')}"


NAMES: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    date: "a date",
    time: "a time",
    datetime: "a date",
    type(None): "nothing",
}
