"""From nothing to the first answer, and memory that must not grow with the rows; in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import baselines.embeddings
import baselines.linear
from bench.memory import peak_of
from bench.setting import Setting
from bench.timing import Measurement, Side, ratio, seconds_of, take_turns
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.conversion import onnx
from labelwright.statistics.calibration import Calibration

FIRST_ROW_GOAL_S, SMALL_GOAL_S = 3.0, 1.0
FITTED_ROWS = 120
MEMORY_GOAL = 1.1
FEW_ROWS, MANY_ROWS = 100, 10_000

_MANY = """
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.data.task import Label
engine = open_engine(Base({base!r}), EngineSettings(device={device!r}, dtype={dtype!r}))
prompt = Prompt({instructions!r}, tuple(map(Label, {names!r})), style={style!r}, template=engine.template)
engine.score(prompt.render_all([{text!r} + f' {{i}}' for i in range({n_rows})]), prompt.options)
"""


def first_row(setting: Setting, n_rows: int = 1, rounds: int = 3) -> Measurement:
    """Seconds from typing `labelwright predict` to a language model's first answer, the model converted before."""
    bundle = Bundle(setting.task, setting.prompt, setting.weights, Calibration())
    return _first_row("first_row", bundle, setting, rounds, FIRST_ROW_GOAL_S, "import torch, transformers")


def first_row_ngrams(setting: Setting, n_rows: int = 1, rounds: int = 3) -> Measurement:
    """The same of a linear model on words."""
    with TemporaryDirectory() as place:
        bundle = _small(baselines.linear.sgd_ngrams(setting.task, 0), setting, Path(place))
        return _first_row("first_row_ngrams", bundle, setting, rounds, SMALL_GOAL_S, "import numpy")


def first_row_onnx(setting: Setting, n_rows: int = 1, rounds: int = 3) -> Measurement:
    """The same of MiniLM with logistic regression, written as ONNX."""
    with TemporaryDirectory() as place:
        fitted = _small(baselines.embeddings.minilm_logreg(setting.task, 0), setting, Path(place))
        converted = Path(place) / "onnx"
        converted.mkdir()
        onnx.convert(fitted, converted, "")
        bundle = load(next(converted.rglob("bundle.json")).parent)
        return _first_row("first_row_onnx", bundle, setting, rounds, SMALL_GOAL_S, "import onnxruntime")


def _small(classifier: Any, setting: Setting, place: Path) -> Bundle:
    """A bundle of a baseline, fitted on a few of the rows: what it answers counts for nothing here."""
    rows = setting.examples[:FITTED_ROWS]
    classifier.fit([row.text for row in rows], [row.label for row in rows])
    classifier.save(place / "fitted")
    return predictor_bundle(setting.task, "small", place / "fitted", Calibration())


def _first_row(name: str, bundle: Bundle, setting: Setting, rounds: int, goal: float, imports: str) -> Measurement:
    """Whole processes, the first of which reads everything from the disk, and those that only import."""
    with TemporaryDirectory() as place:
        save(bundle, Path(place) / "bundle")
        text = setting.examples[0].text
        predict = [sys.executable, "-m", "labelwright.cli", "predict", str(Path(place) / "bundle"), text]
        sides = {
            "first row": lambda: seconds_of(lambda: subprocess.run(predict, check=True, capture_output=True)),
            imports: lambda: seconds_of(lambda: subprocess.run([sys.executable, "-c", imports], check=True)),
        }
        # The second one as well: what is found out about a model once is found out by the first.
        cold = [sides["first row"]() for _ in range(2)]
        taken = take_turns(sides, rounds)
    return ratio(
        name,
        taken["first row"],
        unit="s",
        goal=goal,
        at_most=True,
        sides={side: Side("s", tuple(values)) for side, values in taken.items()},
        facts={"cold_s": cold[0]},
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
