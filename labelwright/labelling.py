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

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import AskedRow, Asking, asking
from labelwright.data.columns import TextColumns, kept_as
from labelwright.data.records import Fault, Row, refusal
from labelwright.decide import probabilities
from labelwright.decisions.answered import Record, answers_to_rows, likeliest
from labelwright.engines.protocol import Engine
from labelwright.errors import DataError
from labelwright.plain_text import printable_json
from labelwright.predictors.encoders.sentence_encoder import one_pass

# Rows handed to the engine at once: enough for it to pack well, few enough to keep memory flat.
CHUNK_ROWS = 512
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


def label_rows(
    rows: Iterable[Row | Fault],
    bundle: Bundle,
    engine: Engine,
    *,
    text: str | Sequence[str] | TextColumns | None = None,
    choices: str = "choices",
    source: str = "rows",
    chunk_rows: int = CHUNK_ROWS,
    is_start: bool = True,
    top: int | None = None,
) -> Iterator[Record]:
    """Each row with its answer added, in order.

    A row that cannot be answered (it could not be read, has no text, is longer than the model reads …) keeps its place,
    with None as its label and the reason under ``error``; it costs no other row its answer. A column of the input that
    has the name of an answer (``label``, say, with the right one) is kept as ``input_label``.

    Parameters
    ----------
    rows : iterable of Row or Fault
        As ``labelwright.data.records.scan_records`` gives them.
    text : str or sequence of str, optional
        Column of the text, or columns; the bundle's own unless given.
    choices : str
        Column of each row's own choices, for a bundle whose rows bring them; not read otherwise.
    source : str
        What to call the rows in messages: a file's name.
    chunk_rows : int
        Rows held and scored at once.
    is_start : bool
        Whether these are the first rows of the input; nothing is raised for others.
    top : int, optional
        How many labels' probabilities an answer has at most (``likeliest``); all unless given.

    Raises
    ------
    DataError
        If no row of the input can be answered, or none of the first chunk for one and the same reason, as where the
        column is misnamed; it names them.
    """
    columns = bundle.task.text if text is None else TextColumns.of(text)
    kind, remaining = asking(bundle.task), iter(rows)
    is_first = is_start
    while chunk := list(itertools.islice(remaining, chunk_rows)):
        read = [_readable(row, kind, columns, choices) for row in chunk]
        with one_pass():
            results = _scored(bundle, engine, read)
            said = _said(bundle, read, results)
        faults = [
            Fault(row.number, str(one)) if isinstance(one, DataError) else one
            for row, one in zip(chunk, results, strict=True)
        ]
        bad = [one for one in faults if isinstance(one, Fault)]
        # The same fault in every row is one of the file (a misnamed column, say), or of the prompt.
        same, ended = len({one.reason for one in bad}) == 1 and len(bad) > 1, len(chunk) < chunk_rows
        if is_first and len(bad) == len(chunk) and (same or ended):
            raise refusal(source, bad)
        is_first = False
        for row, result in zip(chunk, faults, strict=True):
            given: Record = {"label": None, "error": f"{source}, {result}"} if isinstance(result, Fault) else next(said)
            if "error" in given and not isinstance(result, Fault):
                given["error"] = f"{source}, row {row.number}: {given['error']}"
            if top is not None:
                given = likeliest(given, top)
            record = row.record or {}
            yield {kept_as(name): value for name, value in record.items()} | given


def _scored(
    bundle: Bundle, engine: Engine, read: Sequence[AskedRow | Fault]
) -> list[NDArray[np.float64] | DataError | Fault]:
    """Of each row that could be read what ``of_rows`` gives, or what is wrong with it."""
    rows = [one for one in read if isinstance(one, AskedRow)]
    found = iter(of_rows(rows, score_rows(bundle, engine, [text for row in rows for text in row.texts])))
    return [one if isinstance(one, Fault) else next(found) for one in read]


def of_rows(
    rows: Sequence[AskedRow], scored: Sequence[NDArray[np.float64] | DataError]
) -> list[NDArray[np.float64] | DataError]:
    """What was found for the texts of rows, put together a row.

    Parameters
    ----------
    scored : sequence of ndarray (n_labels,) or DataError
        One a text, in order.

    Returns
    -------
    list of ndarray or DataError
        (n_labels,) of a row with one text; of one with several a line each, (n_texts, n_labels), unless one is refused.
    """
    remaining = iter(scored)
    return [_of_row(list(itertools.islice(remaining, len(row.texts)))) for row in rows]


def _of_row(own: Sequence[NDArray[np.float64] | DataError]) -> NDArray[np.float64] | DataError:
    if len(own) == 1:
        return own[0]
    lines = [probs for probs in own if isinstance(probs, np.ndarray)]
    refused = (one for one in own if isinstance(one, DataError))
    return np.stack(lines) if len(lines) == len(own) else next(refused)


def _said(bundle: Bundle, read: Sequence[Any], results: Sequence[Any]) -> Iterator[Record]:
    """What is said about the rows that have probabilities, in order."""
    scored = [(one, probs) for one, probs in zip(read, results, strict=True) if isinstance(probs, np.ndarray)]
    if not scored:
        return iter(())
    probs = [found for _, found in scored]
    # Whether each belongs to no label; None where the bundle does not ask.
    outside: Sequence[Any] = [None] * len(scored)
    if bundle.scope is not None:
        outside = bundle.outside([one.texts[0] for one, _ in scored], np.stack(probs))
    return answers_to_rows(bundle, probs, [one.choices for one, _ in scored], outside)


def _readable(row: Row | Fault, kind: Asking, text: TextColumns, choices: str) -> AskedRow | Fault:
    """What the model is to read of a row, or what is wrong with it."""
    if isinstance(row, Fault):
        return row
    try:
        return kind.row(text.need(row.record), row.record.get(choices))
    except DataError as error:
        return Fault(row.number, str(error))


def score_rows(bundle: Bundle, engine: Engine, texts: Sequence[str]) -> list[NDArray[np.float64] | DataError]:
    """Probabilities (n_labels,) a row, or what the engine has against it, without a row's number.

    A chunk that is refused is halved until the row is alone.
    """
    if not texts:
        return []
    try:
        return list(probabilities(bundle, engine, texts))
    except DataError as error:
        if len(texts) == 1:
            return [without_number(error)]
    half = len(texts) // 2
    return [*score_rows(bundle, engine, texts[:half]), *score_rows(bundle, engine, texts[half:])]


def without_number(error: DataError) -> DataError:
    """What an engine has against a row that it was asked alone: it counts the rows of its own call, the caller others.

    >>> without_number(DataError("row 1 ('the pool is…): 900 tokens"))
    DataError('900 tokens')
    """
    return DataError(str(error).split("…): ", 1)[-1] if str(error).startswith("row 1 (") else str(error))


def json_line(row: Mapping[str, Any], encoding: str = "utf-8") -> str:
    """A row as JSON in one line. What JSON has no form for (dates, decimals) is written as text.

    Parameters
    ----------
    encoding : str
        Of where it goes: characters that it lacks, and half characters, are written as JSON's escapes.
    """
    line = _JSON.encode(row)
    if line.isascii():
        return line
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(row, default=str)
    return line


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
            if self.path.is_dir():
                raise DataError(f"{self.path}: cannot be written (it is a folder); name a file in it")
            try:
                self._file = self._unfinished.open("w", encoding="utf-8", newline="\n")
            except OSError as error:
                raise DataError(f"{self.path}: cannot be written ({error.strerror}); check its folder") from error
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row; on stdout at once, and so that no row drives a terminal."""
        if self.path is not None:
            self._file.write(json_line(row) + "\n")
            return
        print(printable_json(json_line(row, self._file.encoding or "utf-8")), file=self._file, flush=True)

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
