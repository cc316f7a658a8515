"""From a TOML table to a frozen dataclass: unknown keys, missing keys and wrong types are refused by name.

Knows types, not recipes: ``recipe.py`` decides which table fills which dataclass.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from labelwright.errors import RecipeError

T = TypeVar("T")


def check_keys(table: Mapping[str, Any], known: Iterable[str], where: str, what: str = "key") -> None:
    """Refuse the first key that is not known, and suggest the nearest that is."""
    known = list(known)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"known {what}s are {', '.join(sorted(known))}"
            raise RecipeError(f"{where}: unknown {what} {key!r}; {hint}")


def read_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Fill a dataclass from a table.

    Parameters
    ----------
    cls : type
        A dataclass; its fields are the known keys, their annotations the expected types.
    where : str
        File and table, for messages.

    Raises
    ------
    RecipeError
        Unknown or missing key, wrong type, or what the dataclass itself refuses, each with ``where`` in front.
    """
    settings = [one for one in fields(cls) if one.init]  # type: ignore[arg-type]
    check_keys(table, [one.name for one in settings], where)
    for one in settings:
        if one.default is MISSING and one.default_factory is MISSING and one.name not in table:
            raise RecipeError(f"{where}: no {one.name!r}; it has no default, add it")
    hints = get_type_hints(cls)
    values = {key: _convert(value, hints[key], f"{where}: {key}") for key, value in table.items()}
    try:
        return cls(**values)
    except RecipeError as error:
        # A stage names its table itself, for who builds it without a recipe.
        table_name = where.rpartition("[")[2].rstrip("]")
        message = str(error).removeprefix(f"[{table_name}] ").removeprefix(f"{table_name}.")
        raise RecipeError(f"{where}: {message}") from error


def _convert(value: Any, hint: Any, where: str) -> Any:
    """The value as the annotation wants it, or RecipeError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value in arguments and type(value) in {type(one) for one in arguments}:
            return value
        raise RecipeError(f"{where} = {value!r}: expected one of {', '.join(map(repr, arguments))}")
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if origin in (tuple, list) or hint in (tuple, list):
        return _convert_sequence(value, hint, where)
    if (origin or hint) in (dict, Mapping) or (origin is not None and issubclass(origin, Mapping)):
        if not isinstance(value, dict):
            raise _wrong_type(value, "a table", where)
        if len(arguments) == 2:
            return {key: _convert(one, arguments[1], f"{where}.{key}") for key, one in value.items()}
        return dict(value)
    if hint is float and type(value) is int:
        return float(value)
    # TOML's true is also a Python int: a switch is not a number.
    if type(value) is hint or (isinstance(value, hint) and not isinstance(value, bool)):
        return value
    raise _wrong_type(value, _NAMES.get(hint, getattr(hint, "__name__", str(hint))), where)


def _convert_union(value: Any, arguments: tuple[Any, ...], where: str) -> Any:
    for argument in arguments:
        if argument is type(None):
            continue
        try:
            return _convert(value, argument, where)
        except RecipeError:
            continue
    expected = " or ".join(_NAMES.get(one, str(one)) for one in arguments if one is not type(None))
    raise _wrong_type(value, expected, where)


def _convert_sequence(value: Any, hint: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong_type(value, "a list", where)
    arguments = get_args(hint)
    if not arguments:
        return tuple(value)
    kind = get_origin(hint) or hint
    if kind is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _wrong_type(value, f"a list of {len(arguments)} values", where)
        return tuple(_convert(one, argument, where) for one, argument in zip(value, arguments, strict=True))
    return kind(_convert(one, arguments[0], f"{where}[{number}]") for number, one in enumerate(value))


def _wrong_type(value: Any, expected: str, where: str) -> RecipeError:
    return RecipeError(f"{where} = {value!r}: expected {expected}, found {_NAMES.get(type(value), 'a table')}")


_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}
