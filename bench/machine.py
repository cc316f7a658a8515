"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench.timing import seconds_of

# Both fit well into memory and are long enough that starting the product does not count.
SQUARES = (1024, 2048)
PRODUCTS = 5


def machine_facts() -> dict[str, Any]:
    """Processor, cores, threads, versions, date, and the rate of a plain bfloat16 matrix product."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "trl")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": os.getloadavg()[0],
        "bf16_matmul_flops_per_s": product_rate(torch.bfloat16, torch.device("cpu")),
    }


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOPs per second of a square matrix product, the best of a few of each size; a product of n is 2 n^3 FLOPs."""
    best = 0.0
    for n in SQUARES:
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        for _ in range(PRODUCTS):
            best = max(best, 2 * n**3 / seconds_of(lambda a=a, b=b: _finished(a @ b)))  # type: ignore[misc]
    return best


def shapes_rate(shapes: Sequence[tuple[int, int]], n_tokens: int, dtype: torch.dtype, device: torch.device) -> float:
    """FLOPs per second of products (n_tokens, inputs) @ (inputs, outputs) one after the other, the best of a few."""
    factors = [
        (torch.randn(n_tokens, n, device=device).to(dtype), torch.randn(n, m, device=device).to(dtype))
        for n, m in shapes
    ]

    def all_of_them() -> None:
        for a, b in factors:
            product = a @ b
        _finished(product)

    all_of_them()
    n_flops = sum(2 * n_tokens * n * m for n, m in shapes)
    return max(n_flops / seconds_of(all_of_them) for _ in range(PRODUCTS))


def _finished(product: torch.Tensor) -> None:
    if product.device.type == "cuda":
        torch.cuda.synchronize()


def _cpu_model() -> str:
    """The processor's name; Linux tells it, elsewhere the architecture must do."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
