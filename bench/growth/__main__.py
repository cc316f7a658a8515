"""`python -m bench.growth`: time and memory as they grow, measured case by case, and their page and plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.growth.cases import UNITS, Measured, Series, measure, series
from bench.growth.page import draw, page
from bench.machine import machine_facts
from bench.training.kept import keep, read_kept
from labelwright.errors import LabelwrightError
from labelwright.files import write_text

RESULTS = Path("bench/results/growth")
MOST_S = 300.0
# What a line of the file says beside a ``Measured``.
_NAMES = ("key", "machine", "case")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not there yet, then write page and plots; 0, or 2 where a case cannot be measured at all."""
    given = _parser().parse_args(arguments)
    all_series, about = series(given.model, given.quick), machine_facts()
    kept = Kept(given.out / "cases.jsonl", f"{about['cpu']}, {about['cores']} cores")
    left_out = dict[str, str]()
    for one in all_series:
        if one.dimension in (given.only or UNITS) and not (given.draw or _excluded(one, given.series)):
            left_out |= run(one, kept, given.seconds, given.at, given.again)
    found = kept.read()
    if not found:
        print(f"error: nothing is measured yet on this machine ({kept.machine}); run without --draw", file=sys.stderr)
        return 2
    dates = sorted({case.date for case in found.values()})
    facts = f"{kept.machine}, torch {about['torch']}; {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}. {given.note}"
    write_text(given.out / "README.md", page(all_series, found, left_out, facts.strip()))
    draw(all_series, found, given.out)
    print(f"written: {given.out}")
    return 0


@dataclass(frozen=True)
class Kept:
    """The cases that a file keeps, those of one machine: numbers of two machines make no growth.

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
            for one in read_kept(self.path).values()
            if one["machine"] == self.machine
        }

    def add(self, case: str, measured: Measured) -> None:
        """Keep a case, in the place of what is kept of it."""
        names = dict(zip(_NAMES, (f"{self.machine}: {case}", self.machine, case), strict=True))
        keep(self.path, {**names, **asdict(measured)})


def run(one: Series, kept: Kept, most_s: float, at: Sequence[int] | None = None, again: bool = False) -> dict[str, str]:
    """Measure a series' cases that are not kept yet, from the smallest up; what is left out, and why.

    Parameters
    ----------
    kept : Kept
        Where each case is kept as soon as it is known: a killed measurement goes on.
    most_s : float
        A case that would take more CPU seconds, were it to grow from the last one as x does, is left out.
    at : sequence of int, optional
        The only xs that are measured.
    again : bool
        Measure cases, too, that are kept.
    """
    left_out: dict[str, str] = {}
    last: tuple[int, float] | None = None
    for x in one.xs:
        key, found = one.key(x), kept.read()
        is_wanted = not at or x in at
        if key not in found and not is_wanted:
            continue
        if key not in found or (again and is_wanted):
            if last is not None and (expected := last[1] * x / last[0]) > most_s:
                if key in found:  # what is there stays on the page
                    continue
                left_out[key] = f"it would take about {expected:.0f} CPU s, and {most_s:.0f} are the most"
                continue
            try:
                with TemporaryDirectory() as folder:
                    measured = measure(one.of(x), Path(folder))
            except LabelwrightError as error:
                left_out[key] = " ".join(str(error).split())
                continue
            kept.add(key, measured)
            found = kept.read()
        last = x, found[key].cpu_s
        print(f"{key}: {found[key].cpu_s:.2f} CPU s, {found[key].peak_bytes / 1e6:.0f} MB", file=sys.stderr)
    for key, why in left_out.items():
        print(f"{key} is left out: {why}", file=sys.stderr)
    return left_out


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
