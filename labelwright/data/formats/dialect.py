"""How a file is written, where that has to be said: delimiter, encoding, quotes, header, labels, sheet of its rows."""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """What a reader is told of a file; the defaults are what it finds out itself.

    Attributes
    ----------
    delimiter : str
        One character between the cells of a CSV file; empty: of comma, semicolon, tab and "|" the one that fits.
    encoding : str
        Of text, as Python names it ("cp1252"); empty: UTF-8, or what a byte-order mark says.
    header : bool
        Whether the first line of a CSV file or sheet names its columns; where not, they are called "1", "2", ….
    quotes : bool
        Whether a quote at the beginning of a CSV cell opens it; where not, quotes are signs like others.
    sheet : str
        Of a workbook; empty: the only one that has rows.
    title_rows : int
        Rows above the header of a sheet, blank ones not counted.
    label_prefix : str
        How the word of a line begins that is its label, as fastText writes it ("__label__"): the other words are the
        text, and the columns are called "text" and "label". Empty: lines of a CSV file are cells.
    """

    delimiter: str = ""
    encoding: str = ""
    header: bool = True
    quotes: bool = True
    sheet: str = ""
    title_rows: int = 0
    label_prefix: str = ""


PLAIN = Dialect()


def encoding_fault(name: str) -> str:
    """What was expected of an encoding's name, or an empty text. Encodings that are none of text are faults, too."""
    try:
        known = not name or codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        known = False
    return "" if known else 'an encoding such as "cp1252", "latin-1", "utf-16-le" or "shift_jis"'


def delimiter_fault(delimiter: str) -> str:
    """What was expected of a delimiter, or an empty text."""
    fits = not delimiter or (len(delimiter) == 1 and delimiter not in "\r\n\"'")
    return "" if fits else r'one character such as ",", ";", "|" or "\t"'
