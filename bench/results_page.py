"""bench/results/README.md from bench/results/results.json: the same numbers for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = """# Bench results

Written by `make bench` from `results.json`; what each line means is in [docs/bench.md](../../docs/bench.md). Both sides
of a line were measured in one run, in turn; the value is the median over the rounds, least and greatest beside it.
"""


def page(results: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    machine = results["machine"]
    lines = [
        _HEAD,
        f"{machine['cpu']}, {machine['threads']} threads, {machine['gpu'] or 'no GPU'}, torch {machine['torch']}, "
        f"transformers {machine['transformers']}; plain bfloat16 product "
        f"{machine['bf16_matmul_flops_per_s'] / 1e9:.0f} GFLOP/s; {machine['date']}.",
        "",
        "| what | value | least to greatest | goal | reached | sides |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_line(name, one) for name, one in results["measurements"].items()]
    return "\n".join(lines) + "\n"


def _line(name: str, one: Mapping[str, Any]) -> str:
    goal = "–" if one["goal"] is None else f"{one['goal_is']} {one['goal']:g}"
    reached = {True: "yes", False: "no", None: "–"}[one["reached"]]
    sides = "; ".join(f"{side} {shown(value['median'], value['unit'])}" for side, value in one["sides"].items())
    spread = f"{shown(one['min'])} to {shown(one['max'])}"
    return f"| {name} | {shown(one['value'], one['unit'])} | {spread} | {goal} | {reached} | {sides} |"


def shown(value: float, unit: str = "") -> str:
    """Three digits, with the unit scaled to what people read.

    >>> shown(2.5e9, "bytes"), shown(3.1234, "x"), shown(0.4321)
    ('2.50 GB', '3.12 x', '0.432')
    """
    if unit in ("bytes", "FLOP/s"):
        value, unit = value / 1e9, {"bytes": "GB", "FLOP/s": "GFLOP/s"}[unit]
    digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"
    return f"{digits} {unit}".strip()
