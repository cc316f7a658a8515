"""What the tests of the stages that train weights share: a tracker that can kill the process, engines, a bundle."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes import toy_splits, toy_task

from labelwright.bundle.types import Bundle
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base, Weights
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

SPLITS = toy_splits().for_tuning()


class Record:
    """A tracker that keeps what it is told, and can kill the process at a step."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.curves: list[tuple[int | None, dict[str, float]]] = []
        self.values: dict[str, Any] = {}
        self.kill_at = kill_at

    def params(self, values: Mapping[str, Any]) -> None:
        self.values.update(values)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.curves.append((step, dict(values)))

    def artifact(self, path: Path) -> None: ...

    def table(self, name: str, columns: Any) -> None: ...
    def prompt(self, role: str, text: str) -> None: ...

    def progress(self, done: int, total: int, message: str = "") -> None:
        if done == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def open_float32(weights: Weights) -> Engine:
    return open_engine(weights, EngineSettings(device="cpu", dtype="float32"))


def untuned(folder: Path) -> Bundle:
    """The toy task, answered in codes, over the model in a folder."""
    weights = Base(str(folder))
    prompt = Prompt.for_task(toy_task(), open_float32(weights).template, style="code")
    return Bundle(toy_task(), prompt, weights, Calibration(2.0))
