"""`python -m bench.growth`: time and memory as they grow, measured case by case, and their page and plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.growth.cases import UNITS, Measured, Series, measure, series
from bench.growth.fit import expected
from bench.growth.page import draw, page
from bench.machine import machine_facts
from bench.training.kept import keep, read_kept
from labelwright.errors import LabelwrightError
from labelwright.files import write_text

RESULTS = Path("bench/results/growth")
# A quarter of an hour lets through a million rows of n-grams, 10,000 of the model and a thousand labels.
MOST_S = 900.0
# What a line of the file says beside a ``Measured``, or in its place.
_NAMES, _WHY = ("key", "machine", "case"), "left_out"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not there yet, then write page and plots; 0, or 2 where a case cannot be measured at all."""
    given = _parser().parse_args(arguments)
    all_series, about = series(given.model, given.quick), machine_facts()
    kept = Kept(given.out / "cases.jsonl", f"{about['cpu']}, {about['cores']} cores")
    for one in all_series:
        if one.dimension in (given.only or UNITS) and not (given.draw or _excluded(one, given.series)):
            run(one, kept, given.seconds, given.at, given.again)
    found = kept.read()
    if not found:
        print(f"error: nothing is measured yet on this machine ({kept.machine}); run without --draw", file=sys.stderr)
        return 2
    dates = sorted({case.date for case in found.values()})
    facts = f"{kept.machine}, torch {about['torch']}; {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}. {given.note}"
    write_text(given.out / "README.md", page(all_series, found, kept.left_out(), facts.strip()))
    draw(all_series, found, given.out)
    print(f"written: {given.out}")
    return 0


@dataclass(frozen=True)
class Kept:
    """The cases that a file keeps, those of one machine: numbers of two machines make no growth.

    Of a case the file says what it took or why it was left out, whichever was found out last.

    Attributes
    ----------
    path : Path
    machine : str
        Its processor and number of cores.
    """

    path: Path
    machine: str

    def read(self) -> Mapping[str, Measured]:
        """The machine's cases, by key."""
        return {
            one["case"]: Measured(**{name: value for name, value in one.items() if name not in _NAMES})
            for one in self._lines()
            if _WHY not in one
        }

    def left_out(self) -> Mapping[str, str]:
        """By key, why a case was left out, and when."""
        return {one["case"]: f"{one[_WHY]} ({one['date']})" for one in self._lines() if _WHY in one}

    def add(self, case: str, measured: Measured) -> None:
        """Keep a case, in the place of what is kept of it."""
        self._keep(case, asdict(measured))

    def leave_out(self, case: str, why: str) -> None:
        """Keep why a case was left out; what is kept of it already stays."""
        if case not in self.read():
            self._keep(case, {_WHY: why, "date": datetime.now(UTC).date().isoformat()})

    def _lines(self) -> list[Mapping[str, Any]]:
        return [one for one in read_kept(self.path).values() if one["machine"] == self.machine]

    def _keep(self, case: str, said: Mapping[str, Any]) -> None:
        keep(self.path, {**dict(zip(_NAMES, (f"{self.machine}: {case}", self.machine, case), strict=True)), **said})


def run(one: Series, kept: Kept, most_s: float, at: Sequence[int] | None = None, again: bool = False) -> None:
    """Measure a series' cases that are not kept yet, from the smallest up; of those left out it is kept why.

    Parameters
    ----------
    kept : Kept
        Where each case is kept as soon as it is known: a killed measurement goes on.
    most_s : float
        A case that would take more CPU seconds, were it to grow as the last two did, is left out.
    at : sequence of int, optional
        The only xs that are measured.
    again : bool
        Measure cases, too, that are kept.
    """
    xs, taken = list[int](), list[float]()
    for x in one.xs:
        key = one.key(x)
        found, why = kept.read().get(key), None
        if (not at or x in at) and (found is None or again):
            would = expected(xs, taken, x)
            if would is not None and would > most_s:
                why = f"it would take about {would:.0f} CPU s, and {most_s:.0f} are the most"
            else:
                try:
                    with TemporaryDirectory() as folder:
                        found = measure(one.of(x), Path(folder))
                    kept.add(key, found)
                except LabelwrightError as error:
                    why = " ".join(str(error).split())
        if why is not None:
            kept.leave_out(key, why)
            print(f"{key} is left out: {why}", file=sys.stderr)
        if found is not None:
            xs.append(x)
            taken.append(found.cpu_s)
            print(f"{key}: {found.cpu_s:.2f} CPU s, {found.peak_bytes / 1e6:.0f} MB", file=sys.stderr)


def _excluded(one: Series, named: Sequence[str] | None) -> bool:
    return bool(named) and one.name not in (named or ())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(UNITS), help="these dimensions (default: all)")
    parser.add_argument("--series", nargs="+", metavar="NAME", help="of these, series by name (default: all)")
    parser.add_argument("--at", nargs="+", type=int, metavar="X", help="these cases of each alone (default: all)")
    parser.add_argument("--seconds", type=float, default=MOST_S, help="CPU seconds that a case may take (%(default)g)")
    parser.add_argument("--again", action="store_true", help="measure cases, too, that are there already")
    parser.add_argument("--model", default="smollm2", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two cases of few rows a series: to see that it runs")
    parser.add_argument("--draw", action="store_true", help="measure nothing: page and plots of what is there")
    parser.add_argument("--note", default="", help="a sentence for the page, on what ran beside")
    parser.add_argument("--out", type=Path, default=RESULTS, help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
