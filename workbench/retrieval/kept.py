"""What an encoder or a bundle said of texts, kept by content: a command that is begun again asks nothing twice.

One folder for each that is asked, in it a file for some hundred texts: the texts' hashes and a row of numbers for each.
Files are renamed into place, never changed, and any number of processes may write beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from labelwright.files import replacing

# Texts that are asked at once, and at most lost by a kill.
CHUNK_TEXTS = 256
_MARK_BYTES = 16

Ask = Callable[[list[str]], NDArray[np.float32]]


class Kept:
    """Rows of numbers by text.

    Parameters
    ----------
    folder : Path
        Of what is asked, one for each content: who asks names it after a hash.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(
        self, texts: Sequence[str], ask: Ask, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """A row a text, (n_texts, n_numbers), equal texts asked once.

        Parameters
        ----------
        ask : callable
            From new texts to their rows; it is not called where all are kept.
        progress : callable, optional
            Gets how many different texts are there, and of how many.
        """
        different = list(dict.fromkeys(texts))
        known = dict(self._read())
        new = [text for text in different if _mark(text) not in known]
        tell = progress or (lambda done, total: None)
        tell(len(different) - len(new), len(different))
        for start in range(0, len(new), CHUNK_TEXTS):
            chunk = new[start : start + CHUNK_TEXTS]
            rows = np.ascontiguousarray(ask(chunk), dtype=np.float32)
            marks = [_mark(text) for text in chunk]
            self._write(marks, rows)
            known.update(zip(marks, rows, strict=True))
            tell(len(different) - len(new) + start + len(chunk), len(different))
        return np.stack([known[_mark(text)] for text in texts])

    def _read(self) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
        for path in sorted(self._folder.glob("[!.]*.safetensors")):
            try:
                part = load_file(path)
                marks, rows = part["marks"], part["rows"]
            except (OSError, KeyError, SafetensorError):
                continue  # damaged: its texts are asked again
            if rows.ndim == 2 and marks.shape == (len(rows), _MARK_BYTES) and marks.dtype == np.uint8:
                yield from ((mark.tobytes(), row) for mark, row in zip(marks, rows, strict=True))

    def _write(self, marks: Sequence[bytes], rows: NDArray[np.float32]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = blake2b(b"".join(marks), digest_size=8).hexdigest()
        of_marks = np.frombuffer(b"".join(marks), dtype=np.uint8).reshape(len(marks), _MARK_BYTES)
        with replacing(self._folder / f"{name}.safetensors") as part:
            save_file({"marks": of_marks, "rows": rows}, part)


def _mark(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=_MARK_BYTES).digest()
