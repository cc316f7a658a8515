"""Rows in, labelled rows out: chunk by chunk, so that a large file is never held in memory.

The command line uses it, and so may anything else that labels files. Keeps no model: a bundle and an engine are given.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle import Bundle
from labelwright.choices import lettered, read_choices, split_lettered
from labelwright.decide import probabilities
from labelwright.engine import Engine
from labelwright.errors import DataError
from labelwright.records import cell

# Rows handed to the engine at once: enough for it to pack well, few enough to keep memory flat.
CHUNK_ROWS = 512

Record = dict[str, Any]


def answer(bundle: Bundle, probs: NDArray[np.float64], choices: Sequence[str] | None = None) -> Record:
    """What is said about one row: ``label``, ``confidence`` (its probability) and ``probabilities`` by label.

    Parameters
    ----------
    probs : ndarray of shape (n_labels,)
    choices : sequence of str, optional
        The row's own answers, which then stand for the letters.
    """
    names = bundle.task.names if choices is None else choices
    by_label: dict[str, float] = {}
    # Zeros of letters that the row does not use fall away; a choice that the row has twice has one probability.
    for name, p in zip(names, probs.tolist(), strict=False):
        by_label[name] = by_label.get(name, 0.0) + p
    best = max(by_label, key=lambda name: by_label[name])
    return {"label": best, "confidence": by_label[best], "probabilities": by_label}


def label_rows(
    records: Iterable[Record],
    bundle: Bundle,
    engine: Engine,
    *,
    text: str = "text",
    choices: str = "choices",
    source: str = "rows",
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[Record]:
    """Each row with its answer added, in order.

    A column of the input that has the name of an answer (``label``, say, with the right one) is kept as
    ``input_label``.

    Parameters
    ----------
    text : str
        Column of the text.
    choices : str
        Column of each row's own choices, for a bundle whose rows bring them; not read otherwise.
    source : str
        What to call the rows in messages: a file's name.
    chunk_rows : int
        Rows held and scored at once.

    Raises
    ------
    DataError
        If a row has no such column or no text in it; rows before it have been given.
    """
    remaining = enumerate(records, start=1)
    while chunk := list(itertools.islice(remaining, chunk_rows)):
        texts = [cell(record, text, "text", f"{source}, row {number}") for number, record in chunk]
        if bundle.task.by_row:
            texts = [
                lettered(one, read_choices(record.get(choices), f"{source}, row {number}"), f"{source}, row {number}")
                for one, (number, record) in zip(texts, chunk, strict=True)
            ]
        for (_, record), one, probs in zip(chunk, texts, probabilities(bundle, engine, texts), strict=True):
            said = answer(bundle, probs, split_lettered(one)[1] if bundle.task.by_row else None)
            yield {f"input_{name}" if name in said else name: value for name, value in record.items()} | said


class JsonLines:
    """Writes rows as JSON lines to a file, which appears under its name when all are written, or to stdout.

    Parameters
    ----------
    path : Path, optional
        Without it, stdout.

    Raises
    ------
    DataError
        On entering, if the file cannot be written.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = None if path is None else Path(path).absolute()
        self._file: TextIO = sys.stdout

    def __enter__(self) -> JsonLines:
        if self.path is not None:
            try:
                # Half a character (a lone surrogate) is no UTF-8; backslashreplace writes it as JSON's escape.
                self._file = self._unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
            except OSError as error:
                raise DataError(f"{self.path}: cannot be written ({error.strerror}); check its folder") from error
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row. What JSON has no form for (dates, decimals) is written as text."""
        self._file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is None:
            return
        self._file.close()
        if error is None:
            os.replace(self._unfinished, self.path)
        else:
            self._unfinished.unlink(missing_ok=True)

    @property
    def _unfinished(self) -> Path:
        assert self.path is not None
        return self.path.with_name(f".{self.path.name}.unfinished")
