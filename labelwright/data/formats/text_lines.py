"""Lines of a text file, its encoding recognised. Knows nothing of rows.

An encoding is only taken from who knows it, or from what says it for sure, a byte-order mark; a guess between
Windows-1252 and its many relatives would change letters without a word. Without either text is UTF-8, and a line that
is not is marked, so that the lines around it can be read.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from labelwright.errors import DataError

# The mark of UTF-32 begins with that of UTF-16, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT_BYTES = 4096
_HALF = re.compile("[\ud800-\udfff]")


class Start(NamedTuple):
    """Where in a file reading begins.

    Attributes
    ----------
    rows, lines : int
        That stand before it, counted as messages count them.
    n_bytes : int, optional
        Before it; None where lines have to be counted, as in what is packed, or not UTF-8.
    """

    rows: int = 0
    lines: int = 0
    n_bytes: int | None = None


FIRST = Start()


def lines_from(start: Start, file: BinaryIO, source: str, encoding: str = "") -> Iterator[str]:
    """``decoded_lines`` from a start on, of a file that is at its beginning."""
    if start.n_bytes is None:
        yield from islice(decoded_lines(file, source, encoding), start.lines, None)
        return
    file.seek(start.n_bytes)
    # What the file's first bytes say of its encoding is known; those here say nothing.
    lines = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield from lines
    finally:
        if not file.closed:
            lines.detach()


def decoded_lines(file: BinaryIO, source: str, encoding: str = "") -> Iterator[str]:
    r"""Lines with their line ends as they stand, ``\n``, ``\r\n`` or ``\r``, and no byte-order mark.

    A byte that the encoding does not know becomes a lone surrogate: see ``holds_undecoded``.

    Parameters
    ----------
    file : binary stream
        Read to its end, a pipe line by line as it comes.
    source : str
        The file's name, for messages.
    encoding : str
        As Python names it, where the file does not say it itself; empty for UTF-8.

    Raises
    ------
    DataError
        Text that is UTF-16 without a mark, or broken UTF-16 or UTF-32; with ``encoding``, text that is not in it.
    """
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)  # type: ignore[type-var]
    head = buffered.peek(_LOOKED_AT_BYTES)[:_LOOKED_AT_BYTES]
    marked = marked_encoding(head)
    if not marked and not encoding and (wide := wide_encoding(head)):
        raise DataError(
            f"{source}: this looks like {wide.upper()} without a byte-order mark; save the file as UTF-8, or set "
            f'[data] encoding = "{wide}" in the recipe'
        )
    encoding = marked or encoding or "utf-8"
    # In the wide encodings every line depends on those before it: nothing is left to go on with.
    errors = "strict" if re.match("utf_?-?(16|32)", encoding, re.IGNORECASE) else "surrogateescape"
    lines = io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")
    try:
        yield from lines
    except UnicodeError as error:
        said = ", as its first bytes say it is" if marked else ""
        raise DataError(f"{source}: not {encoding.upper()}{said}; save the file as UTF-8") from error
    finally:
        if not buffered.closed:
            lines.detach()  # who opened the file closes it


def holds_undecoded(line: str) -> bool:
    """Whether a line of ``decoded_lines`` holds bytes that could not be decoded."""
    return has_half_a_character(line)


def has_half_a_character(text: str) -> bool:
    """Whether a text holds a surrogate: half of a character in UTF-16, no character at all anywhere else."""
    return not text.isascii() and _HALF.search(text) is not None


def marked_encoding(head: bytes) -> str:
    """The encoding that a byte-order mark names; "" without one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "")


def wide_encoding(head: bytes) -> str:
    """Which UTF-16 the bytes are, by where their zeros are; "" for none."""
    pairs = len(head) // 2
    if not pairs:
        return ""
    even, odd = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if min(even, odd) > pairs / 10 or max(even, odd) < pairs / 3:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"
