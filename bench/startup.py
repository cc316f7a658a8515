"""From nothing to the first answer, and memory that must not grow with the rows; in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.memory import peak_of
from bench.setting import Setting
from bench.timing import Measurement, Side, ratio, seconds_of

FIRST_ROW_GOAL_S = 3.0
MEMORY_GOAL = 1.1
FEW_ROWS, MANY_ROWS = 100, 10_000

_FIRST_ROW = """
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.data.task import Label
engine = open_engine(Base({base!r}), EngineSettings(device={device!r}, dtype={dtype!r}))
prompt = Prompt({instructions!r}, tuple(map(Label, {names!r})), style={style!r}, template=engine.template)
"""
_ONE = _FIRST_ROW + "engine.score([prompt.render({text!r})], prompt.options)"
_MANY = _FIRST_ROW + "engine.score(prompt.render_all([{text!r} + f' {{i}}' for i in range({n_rows})]), prompt.options)"


def first_row(setting: Setting, n_rows: int = 1, rounds: int = 3) -> Measurement:
    """Seconds from the start of a Python process to the first row's scores, the model converted before."""
    command = [sys.executable, "-c", _ONE.format(**_words(setting))]
    seconds = [seconds_of(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(rounds + 1)]
    empty = [sys.executable, "-c", "import torch, transformers"]
    imports = [seconds_of(lambda: subprocess.run(empty, check=True, capture_output=True)) for _ in range(rounds)]
    # The first one reads everything from the disk.
    return ratio(
        "first_row",
        seconds[1:],
        unit="s",
        goal=FIRST_ROW_GOAL_S,
        at_most=True,
        sides={"first row": Side("s", tuple(seconds[1:])), "import torch, transformers": Side("s", tuple(imports))},
        facts={"cold_s": seconds[0]},
    )


def memory_many_rows(setting: Setting, n_rows: int = MANY_ROWS, rounds: int = 1) -> Measurement:
    """Peak resident bytes of a process that scores many rows in one call, over one that scores ``FEW_ROWS``."""
    words = {**_words(setting), "style": "code"}

    def peak(count: int) -> int:
        return peak_of([sys.executable, "-c", _MANY.format(**words, n_rows=count)], Path.cwd())

    few, many = peak(FEW_ROWS), peak(n_rows)
    return ratio(
        "memory_many_rows",
        [many / few],
        goal=MEMORY_GOAL,
        at_most=True,
        sides={"many rows": Side("bytes", (many,)), "few rows": Side("bytes", (few,))},
        facts={"many": n_rows, "few": FEW_ROWS, "style": "code"},
    )


def _words(setting: Setting) -> dict:
    weights, engine = setting.weights, setting.engine
    return {
        "base": weights.base,
        "device": str(engine.device),
        "dtype": str(engine.model.dtype).removeprefix("torch."),
        "instructions": setting.prompt.instructions,
        "names": list(setting.task.names),
        "style": setting.prompt.style,
        "text": setting.examples[0].text,
    }
