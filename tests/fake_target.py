"""A target for tests: writes one file, and answers as ``FakeEngine`` does, off by what the number format says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fakes import FakeEngine

from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.conversion.folder import Converted
from labelwright.conversion.targets import Target, Written
from labelwright.decide import probabilities

TARGET = Target("fake_target", "fake", "a fake", ("near", "far", "broken"))
SERVED = Target("fake_target", "fake", "a fake behind a server", needs_server=True)
OFF_BY = {"": 0.0, "near": 0.01, "far": 0.4}


def convert(bundle: Bundle, folder: Path, quantise: str) -> Written:
    save(bundle, folder / "inner")
    if quantise == "broken":
        raise RuntimeError("a converter of somebody's that fails half-way")
    return Written({"off_by": OFF_BY[quantise]}, "Run the *fake*.", ("Nothing.",), {"library_name": "fake"})


class Runtime:
    closed = 0

    def __init__(self, bundle: Bundle, off_by: float) -> None:
        self.bundle, self.off_by = bundle, off_by

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        probs = probabilities(self.bundle, FakeEngine(), texts)  # type: ignore[arg-type]
        return (1 - self.off_by) * probs + self.off_by * np.eye(probs.shape[1])[0]

    def close(self) -> None:
        Runtime.closed += 1


def open_converted(converted: Converted) -> Any:
    return Runtime(load(converted.folder / "inner"), converted.settings["off_by"])
