"""``[search]``: which candidates' settings are searched, within what, and what is wrong with that.

A space is data: a setting has a list of values, or a range of numbers. Which settings there are, and what each may be,
is said where the baselines' are (``baselines.settings``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

import baselines
from baselines.settings import read_settings
from labelwright.errors import LabelwrightError
from labelwright.settings import Items, Range, read_value, shown
from workbench.recipe.fill import fill, unknown_keys

# What a candidate is called whose settings were searched, before the name of the baseline that it is.
SEARCHED = "searched-"


@dataclass(frozen=True)
class SearchTable:
    """``[search]``: settings of candidates that are searched on dev; what is found stands beside the untouched one.

    Attributes
    ----------
    space : mapping of baseline to mapping of setting to list or range
        ``[search.space.NAME]``: a list of values, or ``{low = …, high = …}``, with ``log = true`` for factors.
    trials : int
        Settings that are tried of each candidate.
    by : {"log_loss", "accuracy"}
        What dev chooses by, of calibrated probabilities.
    at_once : int
        Trials that are drawn together, and so may run together; the next ones know of them.
    pruning : {"", "median"}
        Whether a trial learns shares of train first, and is given up where it is worse there than the median of those
        of earlier rounds.
    """

    space: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trials: Annotated[int, Range(2, 10_000)] = 20
    by: Literal["log_loss", "accuracy"] = "log_loss"
    at_once: Annotated[int, Range(1, 64)] = 4
    pruning: Literal["", "median"] = ""


@dataclass(frozen=True)
class Span:
    """A range of a setting, both ends included.

    Attributes
    ----------
    whole : bool
        Whether only whole numbers are meant.
    listed : bool
        Whether the setting takes a list, which then holds the one number.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    listed: bool = False

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.low:g} to {self.high:g}{', by factors' if self.log else ''}"


@dataclass(frozen=True)
class Values:
    """A setting's values that are tried."""

    values: tuple[Any, ...]

    @property
    def told(self) -> str:
        """In words."""
        return ", ".join(map(shown, self.values))


Space = Mapping[str, Span | Values]


@dataclass(frozen=True)
class _Given:
    """A range as a recipe has it."""

    low: float
    high: float
    log: bool = False


def searched_candidates(table: SearchTable) -> dict[str, str]:
    """Candidates whose settings are searched, by name, each with the baseline that it is."""
    return {f"{SEARCHED}{name}": name for name in table.space}


def read_space(name: str, given: Mapping[str, Any], faults: list[str]) -> Space:
    """A baseline's space from its table; what is wrong with it is added to ``faults``."""
    known, space = getattr(baselines.BASELINES[name], "settings", {}), dict[str, Span | Values]()
    for key, wanted in given.items():
        own: list[str] = []
        if key not in known:
            own.append(f"{name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        elif isinstance(wanted, Mapping):
            space[key] = _span(name, key, known[key], wanted, own)
        elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
            space[key] = _values(key, known[key], wanted, own)
        else:
            own.append(f"{key} = {shown(wanted)}: expected a list of values, or a range such as {{low = 1, high = 9}}")
        faults += [fault if fault.startswith(f"{name} ") else f"{name}: {fault}" for fault in own]
    if not given:
        faults.append(f"{name}: there is nothing to search; expected some of {', '.join(known) or 'no setting'}")
    return space


def search_faults(
    table: SearchTable, names: Sequence[str], tunings: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """What is wrong with a search.

    Parameters
    ----------
    names, tunings : sequence of str
        ``[baselines] names``, and pipelines of the language model that the recipe compares.
    settings : mapping
        ``[baselines.settings]``, which hold where the space says nothing.
    """
    for name, given in table.space.items():
        if name in tunings:
            yield f"space.{name}: a tuning of the language model, and settings of stages are not searched; leave it out"
        elif name not in names or name not in baselines.BASELINES:
            near = unknown_keys([name], names, "baseline")[0]
            yield f"space: {near}; only those in [baselines] names are searched"
        else:
            faults: list[str] = []
            space = read_space(name, given, faults)
            if not faults:
                faults += _corner_faults(name, space, settings.get(name, {}))
            yield from (f"space.{fault}" for fault in faults)


def _corner_faults(name: str, space: Space, beside: Mapping[str, Any]) -> list[str]:
    """What the baseline says of a space all of whose settings are at one end: of all trials, or of none."""
    found: list[list[str]] = []
    for end in (0, -1):
        faults: list[str] = []
        read_settings(
            name, getattr(baselines.BASELINES[name], "settings", {}), {**beside, **at_end(space, end)}, faults
        )
        found.append(faults)
    # One end may be wrong beside settings of another: such a trial fails alone, and says so.
    return [f"{name}: {fault}" for fault in found[0]] if all(found) else []


def at_end(space: Space, end: int) -> dict[str, Any]:
    """The settings at one end of every range and list: 0 for the first, -1 for the last."""
    return {
        key: one.values[end] if isinstance(one, Values) else as_setting(one, (one.low, one.high)[end])
        for key, one in space.items()
    }


def as_setting(span: Span, number: float) -> Any:
    """A number of a range as its setting takes it."""
    value = int(number) if span.whole else float(number)
    return [value] if span.listed else value


def _span(name: str, key: str, hint: Any, wanted: Mapping[str, Any], faults: list[str]) -> Span:
    read = fill(_Given, wanted, faults)
    kind, listed = _number_of(hint)
    if kind is None:
        faults.append(f"{key}: takes no number, so it has no range: expected a list of values")
    if read is None or kind is None or faults:
        faults[:] = [fault if fault.startswith(key) else f"{key}: {fault}" for fault in faults]
        return Span(0, 1)
    whole = kind is int
    if whole and (read.low != int(read.low) or read.high != int(read.high)):
        faults.append(f"{key} = {shown(dict(wanted))}: expected whole numbers")
    span = Span(read.low, read.high, read.log, whole, listed)
    if read.low >= read.high:
        faults.append(f"{key}: from {read.low:g} to {read.high:g} there is nothing: expected low below high")
    elif read.log and read.low <= 0:
        faults.append(f"{key}: low = {read.low:g} and log = true: expected a low above 0")
    if not faults:
        for number in (span.low, span.high):
            read_value(as_setting(span, number), hint, key, faults)
    return span


def _values(key: str, hint: Any, wanted: Sequence[Any], faults: list[str]) -> Values:
    found = Items(least=2).fault(list(wanted))
    if found:
        faults.append(f"{key} = {shown(list(wanted))}: expected {found}")
    for value in wanted:
        read_value(value, hint, key, faults)
    return Values(tuple(list(one) if isinstance(one, tuple) else one for one in wanted))


def _number_of(hint: Any) -> tuple[type | None, bool]:
    """The kind of number that an annotation takes, and whether in a list."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (tuple, list):
        return _number_of(get_args(hint)[0])[0], True
    return (hint if hint in (int, float) else None), False


def check_space(table: SearchTable, name: str) -> Space:
    """The space of a baseline in a recipe that was read. Raises LabelwrightError where it is none."""
    faults: list[str] = []
    space = read_space(name, table.space[name], faults)
    if faults:
        raise LabelwrightError(f"[search]: {'; '.join(faults)}")
    return space
