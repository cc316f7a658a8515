"""`python -m bench`: measure, show, and write bench/results/results.json. `make bench` calls it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench.results_page import page, shown
from bench.timing import Measurement, seconds_of
from labelwright.errors import LabelwrightError
from labelwright.files import read_json, write_json
from workbench.progress import duration, silence_libraries

if TYPE_CHECKING:
    from bench.setting import Setting

# Where each part is, in the order in which they run. The one that may start a demo of its own comes before a model is
# loaded here, and those that start processes before this one has grown.
PARTS = {
    "peak_memory_demo_bytes": "bench.memory:peak_memory_demo",
    "first_row": "bench.startup:first_row",
    "first_row_ngrams": "bench.startup:first_row_ngrams",
    "first_row_onnx": "bench.startup:first_row_onnx",
    "memory_many_rows": "bench.startup:memory_many_rows",
    "bulk_overhead": "bench.bulk.overhead:bulk_overhead",
    "bulk_overhead_encoder": "bench.bulk.overhead:bulk_overhead_encoder",
    "score_vs_generate": "bench.scoring.packing:score_vs_generate",
    "score_vs_generate_tuned": "bench.scoring.packing:score_vs_generate_tuned",
    "score_vs_llamacpp": "bench.scoring.llamacpp:score_vs_llamacpp",
    "score_vs_vllm": "bench.scoring.vllm:score_vs_vllm",
    "flop_share": "bench.scoring.flops:flop_share",
    "latency": "bench.scoring.packing:latency",
    "labels_77_vs_18": "bench.scoring.labels:labels_77_vs_18",
    "labels_77_vs_18_tuned": "bench.scoring.labels:labels_77_vs_18_tuned",
    "codes_151_vs_18": "bench.scoring.labels:codes_151_vs_18",
    "points_vs_choice": "bench.scoring.labels:points_vs_choice",
    "expansion": "bench.scoring.packing:expansion",
    "expansion_tuned": "bench.scoring.packing:expansion_tuned",
    "expansion_77": "bench.scoring.labels:expansion_77",
    "expansion_151": "bench.scoring.labels:expansion_151",
    "coalescing": "bench.scoring.coalescing:coalescing",
    "serve_overhead": "bench.serving:serve_overhead",
    "serve_latency": "bench.serving:serve_latency",
    "served_vs_llamacpp": "bench.scoring.endpoints:served_vs_llamacpp",
    "grpo_step_vs_trl": "bench.training.grpo_step:grpo_step_vs_trl",
    "grpo_step_growth": "bench.training.grpo_step:grpo_step_growth",
    "sft_vs_trl": "bench.training.sft:sft_vs_trl",
}
# Measured on the recipe's newest exported bundle; before the first export there is none.
TUNED = ("score_vs_generate_tuned", "labels_77_vs_18_tuned", "expansion_tuned")
# One of TRL's steps takes minutes: once is enough for a ratio of thirty. So do thousands of rows of an encoder, of
# which a cluster's start is a small part.
ONCE = ("grpo_step_vs_trl", "grpo_step_growth", "memory_many_rows", "bulk_overhead_encoder")
# The rows of a step are part of what is measured, so a quick run takes them all.
OWN_ROWS = (
    "grpo_step_vs_trl",
    "grpo_step_growth",
    "first_row",
    "first_row_ngrams",
    "first_row_onnx",
    "sft_vs_trl",
    "bulk_overhead",
    "bulk_overhead_encoder",
)
RESULTS = Path("bench/results/results.json")
PAGE = RESULTS.with_name("README.md")
QUICK_ROWS = 16
ROUNDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts asked for; 0, or 2 where the recipe or the data are at fault."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error(f"--rounds {given.rounds}: expected at least 1")
    silence_libraries()
    console = Console(stderr=True)
    try:
        run(
            given.recipe,
            given.only or list(PARTS),
            given.out,
            quick=given.quick,
            rounds=given.rounds,
            console=console,
            keep=bool(given.only),
        )
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(
    recipe: Path,
    parts: Sequence[str],
    out: Path,
    *,
    quick: bool,
    console: Console,
    rounds: int = ROUNDS,
    keep: bool = False,
) -> None:
    """Measure the parts, write each to ``out`` as soon as it is known, and print their table.

    Parameters
    ----------
    rounds : int
        Of each part that is measured in rounds: not of those of ``ONCE``, nor of the demo's memory.
    keep : bool
        Other parts keep what ``out`` says of them.
    """
    from bench.machine import machine_facts

    machine = machine_facts()
    results: dict[str, Any] = {"machine": machine, "recipe": str(recipe), "quick": quick, "measurements": {}}
    results["left_out"] = {}
    if keep and out.is_file():
        # Parts that are not measured now keep what an earlier run of the same recipe found, with its date.
        earlier = read_json(out)
        results["measurements"] = earlier["measurements"] if earlier["recipe"] == str(recipe) else {}
    measured: list[Measurement] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, measure in _measures(recipe, parts, quick, 1 if quick else rounds):
        try:
            seconds = seconds_of(lambda call=measure: measured.append(call()))  # type: ignore[misc]
        except (LabelwrightError, ImportError) as error:
            # What is not installed or not there is left out with a word; the other parts go on.
            results["left_out"][name] = " ".join(str(error).split())
            console.print(f"{name} is left out: {results['left_out'][name]}")
            write_json(out, results)
            continue
        results["measurements"][name] = measured[-1].as_json()
        write_json(out, results)
        console.print(f"{name}: {duration(seconds)}", style="dim")
    console.print(_table(measured))
    rate = machine["bf16_matmul_flops_per_s"] / 1e9
    console.print(f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}, bf16 {rate:.0f} GFLOP/s")
    if out == RESULTS and not quick:
        PAGE.write_text(page(results), encoding="utf-8")
    console.print(f"written: {out}")


def _measures(
    recipe: Path, parts: Sequence[str], quick: bool, rounds: int
) -> Iterator[tuple[str, Callable[[], Measurement]]]:
    """The parts asked for, in the order of PARTS. The model is opened for the first that needs it."""
    setting: Setting | None = None
    for name in PARTS:
        if name not in parts:
            continue
        module, function = PARTS[name].split(":")
        measure = getattr(import_module(module), function)
        if name == "peak_memory_demo_bytes":
            yield name, partial(measure, recipe)
            continue
        from bench.setting import open_setting, tuned_setting

        setting = setting or open_setting(recipe)
        measured = tuned_setting(setting) if name in TUNED else setting
        if measured is not None:
            rows = {"n_rows": QUICK_ROWS} if quick and name not in OWN_ROWS else {}
            yield name, partial(measure, measured, rounds=1 if name in ONCE else rounds, **rows)


def _table(measured: Sequence[Measurement]) -> Table:
    """One line a measurement: its value with the spread over the rounds, the goal, and both sides."""
    table = Table("measurement", "median", "min … max", "goal", "sides (medians)")
    for one in measured:
        goal = (
            "" if one.goal is None else f"{'≤' if one.at_most else '≥'} {one.goal:g} {'yes' if one.reached else 'no'}"
        )
        sides = ", ".join(f"{name} {shown(side.median, side.unit)}" for name, side in one.sides.items())
        spread = "" if one.low == one.high else f"{shown(one.low)} … {shown(one.high)}"
        table.add_row(one.name, shown(one.value, one.unit), spread, goal, sides)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="measure these parts (default: all)")
    parser.add_argument("--quick", action="store_true", help="one round of few rows: to see that it runs")
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        help="rounds of each part that is measured in turns; --quick takes one (default: %(default)s)",
    )
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="(default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
