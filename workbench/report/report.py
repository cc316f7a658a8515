"""The report: what a comparison found and under which circumstances, as one value that is written and read back.

Everything that any face shows is in it: Markdown, the page, the terminal's table, MLflow's, and the pictures are
functions of a ``Report``. What the fields mean is said where the types are (``workbench.compare.board``). Test rows'
answers under every candidate are no part of it; they are in rows.jsonl.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any

from labelwright.errors import DataError
from labelwright.settings import NAMES, Range, hints_of, read_value, shown, wrong_type
from workbench.compare.board import FORMAT, Leaderboard
from workbench.recipe.fill import unknown_keys
from workbench.run.folder import RunFolder

# Metric to (step, value) pairs.
Curves = Mapping[str, tuple[tuple[int, float], ...]]
# Of many faults in a file the first are told.
_N_FAULTS = 3


@dataclass(frozen=True)
class SplitSizes:
    """Rows by side, and what was done to the rows on the way: ``workbench.recipe.splits.split_summary``."""

    train: int
    dev: int
    calib: int
    test: int
    n_labels: int
    digest: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What a stage took, reached on dev, and decided: what it wrote into the bundle's history."""

    folder: str
    stage: str
    seconds: Annotated[float, Range(0)]
    peak_memory_bytes: int | None
    dev: Mapping[str, float]
    decided: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Report(Leaderboard):
    """A leaderboard and where it came from.

    Attributes
    ----------
    run : str
        The run folder's stamp.
    curves : mapping of stage folder or candidate to Curves
        Those worth showing, as ``workbench.report.stages.chosen_curves`` picks them.
    prompt : str, optional
        The instructions of the run's newest bundle.
    """

    recipe: str
    run: str
    command: str
    machine: str
    splits: SplitSizes
    stages: tuple[Stage, ...] = ()
    curves: Mapping[str, Curves] = field(default_factory=dict)
    prompt: str | None = None

    def __post_init__(self) -> None:
        names = {entry.name for entry in self.candidates}
        verdict = self.verdict
        named = {verdict.best, verdict.ship, verdict.tuned, verdict.best_baseline, *verdict.as_good}
        named |= {*verdict.not_told_apart, *self.frontier, *self.tables, *self.confidence}
        if strangers := sorted(named - names - {None}):  # type: ignore[type-var]
            raise DataError(f"the verdict speaks of {shown(strangers[0])}, which is no candidate")
        for entry in self.candidates:
            if bool(entry.failed) == ("accuracy" in entry.test):
                raise DataError(f"candidate {shown(entry.name)}: expected either numbers on test or why there are none")

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON value, its version first."""
        return {"format": FORMAT, **_plain(self)}

    @classmethod
    def from_json(cls, value: Any, where: str = "report.json") -> Report:
        """The report that ``to_json`` wrote.

        Raises
        ------
        DataError
            A report of another version; keys that are unknown or missing, or values of another type: in one line, with
            the place.
        """
        found = value.get("format") if isinstance(value, Mapping) else None
        if found != FORMAT:
            raise DataError(f"{where} is {shown(found)}, and only {FORMAT} can be read: run make compare again")
        faults: list[str] = []
        rest = {key: one for key, one in value.items() if key != "format"}
        try:
            report: Report = _read(rest, cls, "", faults)
        except DataError as error:
            faults.append(str(error))
        if faults:
            more = f"; and {len(faults) - _N_FAULTS} more" if len(faults) > _N_FAULTS else ""
            raise DataError(f"{where}: {'; '.join(faults[:_N_FAULTS])}{more}: run make compare again")
        return report


def read_report(folder: RunFolder) -> Report | None:
    """A run's newest report; None where there is none, or its files are not all of one comparison.

    Raises
    ------
    DataError
        As ``Report.from_json``.
    """
    value = folder.report()
    return None if value is None else Report.from_json(value, str(folder.path / "report.json"))


def _plain(value: Any) -> Any:
    """Dataclasses and named tuples as tables; a number that is none (a loss of NaN in a history) as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return _plain(value._asdict()) if hasattr(value, "_asdict") else [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(value: Any, hint: Any, name: str, faults: list[str]) -> Any:
    """A table into its dataclass or named tuple, every key required; or a plain value, held to its type."""
    known = list(getattr(hint, "_fields", ())) or [one.name for one in fields(hint)] if _is_record(hint) else []
    if not known:
        is_kind = type(value) is hint or (hint is float and type(value) is int)
        if not is_kind or (isinstance(value, float) and not math.isfinite(value)):
            faults.append(wrong_type(name, value, NAMES.get(hint, str(hint))))
        return value
    if not isinstance(value, Mapping):
        faults.append(wrong_type(name, value, "a table"))
        return value
    before, hints = len(faults), hints_of(hint)
    place = f"{name}: " if name else ""
    faults += [place + fault for fault in unknown_keys(value, known)]
    faults += [f"{place}no {key!r}" for key in known if key not in value]
    under = f"{name}." if name else ""
    given = {key: read_value(value[key], hints[key], under + key, faults, _read) for key in known if key in value}
    return hint(**given) if len(faults) == before else value


def _is_record(hint: Any) -> bool:
    return is_dataclass(hint) or hasattr(hint, "_fields")
