"""`python -m bench`: measure, show, and write bench/results.json. `make bench` calls it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from labelwright.errors import LabelwrightError
from workbench.folder import write_json
from workbench.progress import duration, silence_libraries

if TYPE_CHECKING:
    from bench.setting import Setting
    from bench.timing import Measurement

# The order in which they run: the one that may start a demo of its own comes before a model is loaded here.
PARTS = (
    "peak_memory_demo_bytes",
    "score_vs_generate",
    "score_vs_generate_tuned",
    "flop_share",
    "latency",
    "pruning",
    "grpo_step_vs_trl",
)
RESULTS = Path("bench/results.json")
QUICK_ROWS = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts asked for; 0, or 2 where the recipe or the data are at fault."""
    given = _parser().parse_args(arguments)
    silence_libraries()
    console = Console(stderr=True)
    try:
        run(given.recipe, given.only or PARTS, given.out, quick=given.quick, console=console)
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(recipe: Path, parts: Sequence[str], out: Path, *, quick: bool, console: Console) -> None:
    """Measure the parts, write each to ``out`` as soon as it is known, and print their table."""
    from bench.machine import machine_facts
    from bench.timing import seconds_of

    machine = machine_facts()
    results: dict[str, Any] = {"machine": machine, "recipe": str(recipe), "quick": quick, "measurements": {}}
    measured: list[Measurement] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, measure in _measures(recipe, parts, quick):
        seconds = seconds_of(lambda call=measure: measured.append(call()))  # type: ignore[misc]
        results["measurements"][name] = measured[-1].as_json()
        write_json(out, results)
        console.print(f"{name}: {duration(seconds)}", style="dim")
    console.print(_table(measured))
    rate = machine["bf16_matmul_flops_per_s"] / 1e9
    console.print(f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}, bf16 {rate:.0f} GFLOP/s")
    console.print(f"written: {out}")


def _measures(recipe: Path, parts: Sequence[str], quick: bool) -> Iterator[tuple[str, Callable[[], Measurement]]]:
    """The parts asked for, in the order of PARTS. The model is opened for the first that needs it."""
    rounds = 1 if quick else 3
    setting: Setting | None = None
    for name in PARTS:
        if name not in parts:
            continue
        if name == "peak_memory_demo_bytes":
            from bench.memory import peak_memory_demo

            yield name, lambda: peak_memory_demo(recipe)
            continue
        from bench.setting import open_setting, tuned_setting

        setting = setting or open_setting(recipe)
        measured = tuned_setting(setting) if name == "score_vs_generate_tuned" else setting
        # Before the first export there is no tuned model to measure.
        if measured is not None:
            yield name, _with_model(name, measured, rounds, {"n_rows": QUICK_ROWS} if quick else {})


def _with_model(name: str, setting: Setting, rounds: int, rows: dict[str, int]) -> Callable[[], Measurement]:
    if name == "grpo_step_vs_trl":
        from bench.grpo_step import grpo_step_vs_trl

        # The rows of a step are part of what is measured, so a quick run takes them all.
        return lambda: grpo_step_vs_trl(setting, rounds=rounds)
    from bench import flops, scoring

    measure = flops.flop_share if name == "flop_share" else getattr(scoring, name)
    return lambda: measure(setting, rounds=rounds, **rows)


def _table(measured: Sequence[Measurement]) -> Table:
    """One line a measurement: its value with the spread over the rounds, the goal, and both sides."""
    table = Table("measurement", "median", "min … max", "goal", "sides (medians)")
    for one in measured:
        goal = "" if one.goal is None else f"≥ {one.goal:g} {'yes' if one.reached else 'no'}"
        sides = ", ".join(f"{name} {_number(side.median, side.unit)}" for name, side in one.sides.items())
        spread = "" if one.low == one.high else f"{_number(one.low)} … {_number(one.high)}"
        table.add_row(one.name, _number(one.value, one.unit), spread, goal, sides)
    return table


def _number(value: float, unit: str = "") -> str:
    """Three digits, with the unit scaled to what people read.

    >>> _number(2.5e9, "bytes"), _number(3.1234, "x"), _number(0.4321)
    ('2.50 GB', '3.12 x', '0.432')
    """
    if unit in ("bytes", "FLOP/s"):
        value, unit = value / 1e9, {"bytes": "GB", "FLOP/s": "GFLOP/s"}[unit]
    digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"
    return f"{digits} {unit}".strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts (default: all)")
    parser.add_argument("--quick", action="store_true", help="one round of few rows: to see that it runs")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
