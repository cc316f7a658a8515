"""When two labels are one label written twice, and when two texts are the same text.

Labels come from several places (a recipe, train and test files, a bundle), and types change on the way: a column of
whole numbers with a gap comes back as 1.0, a truth value as "True" or "true". ``reconcile`` is the one place where
labels of different sources meet; nothing is matched that nobody asked to match.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from labelwright.errors import DataError

# What to do about labels that differ only in how they are written.
Similar = Literal["refuse", "merge", "keep"]

# Numbers of more digits would be rounded, and two of them taken for one.
_EXACT_DIGITS = 28
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?")
# What stands for space between letters, and space, but not that between two digits.
_BETWEEN = re.compile(r"(?<=[^\W\d_])[ _-]+(?=[^\W\d_])|(?<!\d) +| +(?!\d)")
# No ink: zero-width space, word joiner, byte-order mark, soft hyphen, and the signs that make a symbol an emoji or not.
# Joiners stay: they change what Indic and Arabic letters look like.
_NO_INK = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad\ufe0e\ufe0f"))
# Editors put typographic signs in place of typed ones.
_AS_TYPED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "..."})
_SHOWN = 6


@dataclass(frozen=True)
class Source:
    """Labels of one place.

    Attributes
    ----------
    name : str
        For messages: "train.jsonl", "the recipe's labels".
    counts : mapping of str to int
        Rows by label; 0 where a label is only named.
    listed : bool
        Whether someone chose these labels (a recipe's list, a bundle's): then any two of them are two.
    """

    name: str
    counts: Mapping[str, int]
    listed: bool = False


@dataclass
class _Spellings:
    """One label's spellings, in the order of their sources, with where each occurs."""

    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    chosen: set[str] = field(default_factory=set)

    def told(self) -> str:
        return " and ".join(f"{one!r} ({', '.join(places)})" for one, places in self.places.items())


def label_key(label: str) -> str:
    """What spellings of one label have in common: case, spacing, Unicode form and the form of numbers do not count.

    Examples
    --------
    >>> label_key("  Water   HEATER ") == label_key("water_heater"), label_key("1.0") == label_key("01")
    (True, True)
    """
    plain, before = label, None
    # Each step may make work for another (a composed letter, a hyphen now between letters): until none does.
    while plain != before:
        before = plain
        plain = unicodedata.normalize("NFKC", plain.translate(_NO_INK))
        plain = unicodedata.normalize("NFKC", " ".join(plain.casefold().split()))
        plain = unicodedata.normalize("NFKC", _BETWEEN.sub("", plain))
    if not _NUMBER.fullmatch(plain):
        return plain
    number = Decimal(plain)
    if len(number.as_tuple().digits) > _EXACT_DIGITS:
        return plain
    return "0" if not number else str(number.normalize())


def text_key(text: str) -> str:
    """What spellings of one text have in common: case, spacing, Unicode form, typographic quotes; other signs count.

    Examples
    --------
    >>> text_key("It’s  GREEN") == text_key("it's green"), text_key("C++") == text_key("C#")
    (True, False)
    """
    folded = unicodedata.normalize("NFD", text.translate(_NO_INK).translate(_AS_TYPED)).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def reconcile(sources: Sequence[Source], similar: Similar = "refuse", remedy: str = "") -> dict[str, str]:
    """The label that each spelling stands for.

    Parameters
    ----------
    sources : sequence of Source
        Those that decide how a label is written come first.
    similar : {"refuse", "merge", "keep"}
        Spellings that differ only in how they are written are refused; or taken for one label, written as in the first
        source that has it (of several spellings there, as in most rows); or taken for different labels.
    remedy : str
        How the reader may say which, for the message.

    Raises
    ------
    DataError
        Similar spellings, where they are refused: all of them, with how often and where each occurs. Where they are
        merged, a spelling that could be either of two listed labels.
    """
    found: dict[str, _Spellings] = defaultdict(_Spellings)
    for source in sources:
        for label, n in Counter(source.counts).most_common():
            spellings = found[label_key(label)]
            rows = f"{n} row{'' if n == 1 else 's'} of " if n else "in "
            spellings.places[label].append(f"{rows}{source.name}")
            if source.listed:
                spellings.chosen.add(label)
    if similar != "keep":
        _refuse([one for one in found.values() if _at_odds(one, similar)], remedy)
    merged: dict[str, str] = {}
    for spellings in found.values():
        first = next(iter(spellings.places))
        for label in spellings.places:
            merged[label] = first if similar == "merge" and label not in spellings.chosen else label
    return merged


def _at_odds(spellings: _Spellings, similar: Similar) -> bool:
    others = [label for label in spellings.places if label not in spellings.chosen]
    if similar == "merge":
        return bool(others) and len(spellings.chosen) > 1
    return bool(others) and len(spellings.places) > 1


def _refuse(at_odds: Sequence[_Spellings], remedy: str) -> None:
    if not at_odds:
        return
    told = "; ".join(one.told() for one in at_odds[:_SHOWN])
    more = f"; and {len(at_odds) - _SHOWN} more labels" if len(at_odds) > _SHOWN else ""
    remedy = f", or {remedy}" if remedy else ""
    raise DataError(f"labels that differ only in how they are written: {told}{more}; write them alike{remedy}")
