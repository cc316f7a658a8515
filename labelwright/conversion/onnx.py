"""ONNX: an encoder bundle as a bundle whose predictor is one graph, answered by onnxruntime without torch.

The folder holds ``bundle/``: it is answered, checked and served as any bundle is, by ``labelwright[onnx]``. torch's
TorchScript exporter writes the graph: its newer one takes ten times as long and two packages more, and gave the same
numbers (docs/decisions.md). ``int8`` is onnxruntime's dynamic quantisation of the weights, channel by channel.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwright import decide
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.conversion.encoders import Parts, parts_of
from labelwright.conversion.folder import Converted
from labelwright.conversion.targets import Written
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError, MissingExtraError
from labelwright.models.weights import Predictor
from labelwright.predictors.onnx import GRAPH, INPUTS, OUTPUT, TOKENIZER, Onnx, write_about
from labelwright.predictors.store import save_predictor
from labelwright.reading import one_line

_FOLDER = "bundle"
_OPSET = 17
_DYNAMIC = {INPUTS[0]: {0: "rows", 1: "tokens"}, INPUTS[1]: {0: "rows", 1: "tokens"}, OUTPUT: {0: "rows"}}


def convert(bundle: Bundle, folder: Path, quantise: str) -> Written:
    """Write the graph, its tokenizer, and the bundle around them.

    Raises
    ------
    BundleError
        A bundle that is no encoder with a head, or an architecture that torch cannot write as ONNX.
    MissingExtraError
        What writing needs is not installed.
    """
    weights, name = bundle.weights, bundle.weights.base
    if not isinstance(weights, Predictor):
        raise BundleError(f"{name} is a language model; --to onnx takes encoders with their heads: use --to gguf")
    parts = parts_of(weights.folder, name)
    building = folder / "predictor"
    building.mkdir()
    _write_graph(parts, building / GRAPH, name)
    if quantise:
        _quantise(building / GRAPH)
    (building / TOKENIZER).write_text(parts.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    write_about(building, parts.max_tokens, parts.filler, parts.ending)
    fitted = folder / "fitted"
    save_predictor(Onnx(building), parts.labels, fitted)
    made = predictor_bundle(bundle.task, name, fitted, bundle.calibration, bundle.report, bundle.history)
    save(replace(made, long_rows=bundle.long_rows), folder / _FOLDER)
    for one in (building, fitted):
        shutil.rmtree(one)
    return Written({}, _USE, (), {"library_name": "labelwright"})


_USE = f"""\
`{_FOLDER}/` is a bundle; torch is not needed.

    pip install "labelwright[onnx]"
    labelwright predict {_FOLDER} "your text"    # or --input rows.jsonl --output out.jsonl

`{_FOLDER}/predictor/{GRAPH}` takes `{INPUTS[0]}` and `{INPUTS[1]}` (int64, rows x tokens, by `{TOKENIZER}` beside it)
and gives `{OUTPUT}`; its probabilities are softmax(logits / temperature + bias), both in `{_FOLDER}/bundle.json`."""


def _write_graph(parts: Parts, path: Path, name: str) -> None:
    """Export, with rows and tokens of any number."""
    # A fused kernel has no form in ONNX; the plain products are the same numbers.
    parts.network.model.set_attn_implementation("eager")
    ids = torch.full((2, 8), parts.filler, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    try:
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                parts.network,
                (ids, mask),
                str(path),
                dynamo=False,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes=_DYNAMIC,
                opset_version=_OPSET,
            )
    except Exception as error:  # an operator without a form in ONNX, or an architecture's own code
        if "onnx is not installed" in str(error):
            raise _missing(error) from error
        raise BundleError(
            f"{name}: torch cannot write it as ONNX ({one_line(error)}); export another encoder"
        ) from error


def _quantise(path: Path) -> None:
    """Weights in 8 bits, in the graph's place."""
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise _missing(error) from error
    small = path.with_suffix(".int8.onnx")
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a step of its own, whatever it is given
    try:
        quantize_dynamic(str(path), str(small), weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(disabled)
    small.replace(path)


def _missing(error: Exception) -> MissingExtraError:
    return MissingExtraError(f'writing ONNX needs more ({one_line(error)}): pip install "labelwright[onnx-export]"')


class _Runtime:
    """The bundle inside, as `labelwright predict` answers with it."""

    def __init__(self, folder: Path) -> None:
        self._bundle = load(folder)
        self._engine = open_engine(self._bundle.weights, EngineSettings(long_rows=self._bundle.long_rows))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels)."""
        return decide.probabilities(self._bundle, self._engine, texts)

    def close(self) -> None:
        """The graph goes with this object."""


def open_converted(converted: Converted) -> Any:
    """The bundle in the folder."""
    return _Runtime(converted.folder / _FOLDER)
