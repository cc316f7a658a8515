"""An encoder with its head as one ONNX graph, answered by onnxruntime: tokenizers and numpy besides, and no torch.

``labelwright.conversion.onnx`` writes it. The graph takes token ids and a mask and gives logits; everything that makes
them of a text is here and the same as where it was trained: special-token strings in a text are plain text, and what
becomes of long texts is up to ``long_texts``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from labelwright.errors import BundleError, MissingExtraError
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.predictors.protocol import softmax
from labelwright.reading import AGAIN, opening, read_object, require_file

FILE = "onnx.json"
GRAPH = "graph.onnx"
TOKENIZER = "tokenizer.json"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"
_BATCH_ROWS = 64
# The key under which a graph names files outside of it: none may be opened for a stranger's.
_ELSEWHERE = b"location"
_MOST_TOKENS = 2**20


class Onnx:
    """A graph, the tokenizer before it, and how many tokens it reads.

    Parameters
    ----------
    folder : Path
        With ``graph.onnx``, ``tokenizer.json`` and ``onnx.json``: max_tokens, filler (the id that pads), ending (ids
        behind every text).

    Raises
    ------
    BundleError
        Files that are missing, damaged, or no such graph; one that keeps tensors in other files.
    MissingExtraError
        Without onnxruntime.
    """

    kind: ClassVar[str] = "onnx"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        about = read_object(folder / FILE)
        self._ending, self._filler, self.max_tokens = _checked(about, folder / FILE)
        for name in (TOKENIZER, GRAPH):
            require_file(folder / name)
        self.long_texts = LongTexts()
        with opening(folder / TOKENIZER):
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._room = max(1, self.max_tokens - len(self._ending))
        self._tokenizer.enable_truncation(self._room)
        self._session = _session(folder / GRAPH)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (n_texts, n_labels); rows of similar length share a batch."""
        ids = self._tokens(texts)
        order = np.argsort([len(one) for one in ids], kind="stable")
        found = [
            self._logits([ids[row] for row in order[start : start + _BATCH_ROWS]])
            for start in range(0, len(order), _BATCH_ROWS)
        ]
        return softmax(np.concatenate(found).astype(np.float64)[np.argsort(order)])

    def save(self, folder: Path) -> None:
        """Copy its files."""
        for name in (FILE, GRAPH, TOKENIZER):
            shutil.copyfile(self._folder / name, folder / name)

    @classmethod
    def load(cls, folder: Path) -> Onnx:
        """Open them."""
        return cls(folder)

    def external_bytes(self) -> int:
        """Nothing else is needed."""
        return 0

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, none empty."""
        # Tokenizers refuse half characters (lone surrogates).
        whole = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        spare = max(1, self._room - self._tokenizer.num_special_tokens_to_add(False))
        fitted = self.long_texts.fit(whole, spare, self._places, "the model")
        return [[*one.ids, *self._ending] or [self._filler] for one in self._tokenizer.encode_batch(fitted)]

    def _places(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        self._tokenizer.no_truncation()
        try:
            return [one.offsets for one in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        finally:
            self._tokenizer.enable_truncation(self._room)

    def _logits(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        width = max(map(len, ids))
        filled = np.full((len(ids), width), self._filler, dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.int64)
        for row, one in enumerate(ids):
            filled[row, : len(one)] = one
            mask[row, : len(one)] = 1
        logits: NDArray[np.float32] = self._session.run([OUTPUT], dict(zip(INPUTS, (filled, mask), strict=True)))[0]
        return logits


def write_about(folder: Path, max_tokens: int, filler: int, ending: Sequence[int]) -> None:
    """Write ``onnx.json``."""
    about = {"max_tokens": max_tokens, "filler": filler, "ending": list(ending)}
    (folder / FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")


def _checked(about: dict[str, Any], path: Path) -> tuple[list[int], int, int]:
    """The ending, the filler and the most tokens, if they are what ``write_about`` writes."""
    ending, filler, most = (about.get(name) for name in ("ending", "filler", "max_tokens"))
    are_ids = isinstance(ending, list) and all(type(one) is int and 0 <= one < 2**31 for one in [*ending, filler])
    if not are_ids or type(most) is not int or not 1 <= most <= _MOST_TOKENS or len(ending) >= most:  # type: ignore[arg-type]
        raise BundleError(f"{path}: expected an ending and a filler of token ids, and max_tokens; {AGAIN}")
    return ending, filler, most  # type: ignore[return-value]


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError('this classifier needs onnxruntime: pip install "labelwright[onnx]"') from error
    graph = path.read_bytes()
    if _ELSEWHERE in graph:
        raise BundleError(f"{path}: names tensors in other files, or parts by such a name: not opened")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        settings.intra_op_num_threads = int(threads)
    with opening(path):
        session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        given = {one.name for one in session.get_inputs()}
        if given != set(INPUTS) or OUTPUT not in [one.name for one in session.get_outputs()]:
            raise BundleError(f"{path}: expected a graph from {', '.join(INPUTS)} to {OUTPUT}, found {sorted(given)}")
    return session
